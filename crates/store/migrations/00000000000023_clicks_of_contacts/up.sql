-- The clicks of a contact, a conversation or a message are few among many: they are found, newest first, without looking at the rest.
-- What belongs to none costs nothing here. `record` waits while these are made; its clicks stay on the stream meanwhile.

CREATE INDEX clicks_of_contact ON clicks (workspace_id, contact_id, id DESC) WHERE contact_id IS NOT NULL;
CREATE INDEX clicks_of_conversation ON clicks (workspace_id, conversation_id, id DESC) WHERE conversation_id IS NOT NULL;
CREATE INDEX clicks_of_message ON clicks (workspace_id, message_id, id DESC) WHERE message_id IS NOT NULL;

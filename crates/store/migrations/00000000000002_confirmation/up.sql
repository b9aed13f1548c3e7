-- Who asks whether a click is held asks by its message's id.
CREATE INDEX quarantine_of_message ON quarantine (message_id);

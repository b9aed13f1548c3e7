DROP INDEX clicks_of_message;
DROP INDEX clicks_of_conversation;
DROP INDEX clicks_of_contact;

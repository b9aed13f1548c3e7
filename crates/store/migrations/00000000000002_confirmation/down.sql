DROP INDEX quarantine_of_message;

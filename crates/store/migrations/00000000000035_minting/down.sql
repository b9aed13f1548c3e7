-- Recipients' links lead nowhere from then on, also after this is made again: the keys are gone.
DROP TABLE denied_recipients;
DROP TABLE link_templates;
DROP TABLE minting_keys;

-- What a slug was before it was folded is not known; the release before looks its folded form up as well.
DROP INDEX links_beyond_ascii;

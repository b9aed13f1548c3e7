//! Lists in pages: newest first, an opaque cursor to the next page, no totals.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::fields::{Fields, FromFields, invalid};

/// Entries of a page unless the request says otherwise.
pub const LIMIT_DEFAULT: i64 = 50;

/// Most entries of a page.
pub const LIMIT_MAX: i64 = 250;

/// What stands before the id in a cursor, so that nobody takes it for an id and a later form can be told apart.
const CURSOR_BEGINNING: &str = "c1.";

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The entries, newest first.
    pub data: Vec<T>,
    /// Where the next page begins; `null` on the last one.
    #[schema(example = "c1.lnk_01jd8m3x5v9k2n4p6q8r0s1t3w")]
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// A page whose next one begins after the entry `next`, which may be none of this one.
    pub fn until(data: Vec<T>, next: Option<impl fmt::Display>) -> Self {
        Self { data, next_cursor: next.map(|id| cursor(&id)) }
    }
}

/// Which page is asked for.
#[derive(Debug, Clone, Copy)]
pub struct PageRequest<Id> {
    /// The last id of the page before.
    pub before: Option<Id>,
    /// Entries at most.
    pub limit: i64,
}

impl<Id> PageRequest<Id> {
    /// The first `limit` entries.
    pub fn first(limit: i64) -> Self {
        Self { before: None, limit }
    }

    /// One row more than the page holds: it tells whether there is a next page.
    pub fn rows(&self) -> i64 {
        self.limit + 1
    }

    /// The page out of `rows`, of which there may be one more than fits.
    pub fn page<Row, T>(
        &self,
        mut rows: Vec<Row>,
        id_of: impl Fn(&Row) -> Id,
        view: impl Fn(Row) -> T,
    ) -> Page<T>
    where
        Id: fmt::Display,
    {
        let limit = usize::try_from(self.limit).unwrap_or_default();
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = rows.last().filter(|_| has_more).map(|row| cursor(&id_of(row)));
        Page { data: rows.into_iter().map(view).collect(), next_cursor }
    }
}

fn cursor(id: &impl fmt::Display) -> String {
    format!("{CURSOR_BEGINNING}{id}")
}

/// What a query says of the page that it asks for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the OpenAPI document")]
pub struct PageQuery {
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Entries of a page, 1 to 250. Default: 50.
    limit: Option<u32>,
}

impl<Id: FromStr> FromFields for PageRequest<Id> {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let before = fields.optional("cursor", |value| {
            let id = value.as_str().and_then(|text| text.strip_prefix(CURSOR_BEGINNING)?.parse().ok());
            id.ok_or_else(|| invalid("must be the `next_cursor` of the page before"))
        });
        let limit = fields.optional("limit", |value| {
            let limit = value.as_str().and_then(|text| text.parse().ok());
            limit
                .filter(|limit| (1..=LIMIT_MAX).contains(limit))
                .ok_or_else(|| invalid(format_args!("must be a number from 1 to {LIMIT_MAX}")))
        });
        Some(Self { before, limit: limit.unwrap_or(LIMIT_DEFAULT) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use model::LinkId;
    use serde_json::json;

    use crate::fields::{known_fields, read};

    type Asked = PageRequest<LinkId>;

    #[test]
    fn a_query_knows_what_its_description_says() {
        let described: Vec<String> = PageQuery::into_params(|| None).into_iter().map(|p| p.name).collect();

        assert_eq!(known_fields::<Asked>(), described);
    }

    #[test]
    fn a_cursor_leads_to_the_next_page_and_the_last_page_has_none() {
        let ids: Vec<LinkId> = (0..3).map(|_| LinkId::generate()).collect();
        let first = PageRequest::first(2);

        let page = first.page(ids.clone(), |id| *id, |id| id);
        assert_eq!(page.data, ids[..2]);
        let next: Asked = read(&json!({"cursor": page.next_cursor})).expect("a cursor");
        assert_eq!(next.before, Some(ids[1]));

        assert_eq!(first.page(ids[2..].to_vec(), |id| *id, |id| id).next_cursor, None);
    }

    #[test]
    fn a_foreign_cursor_and_a_limit_out_of_bounds_are_refused() {
        for cursor in ["", "c1.", "c1.clk_01jd8m3x5v9k2n4p6q8r0s1t3w", "lnk_01jd8m3x5v9k2n4p6q8r0s1t3w"] {
            assert!(read::<Asked>(&json!({"cursor": cursor})).is_err(), "{cursor}");
        }
        for limit in ["0", "251", "-1", "x", ""] {
            assert!(read::<Asked>(&json!({"limit": limit})).is_err(), "{limit}");
        }
    }
}

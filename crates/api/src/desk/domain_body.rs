//! What is asked of a domain: of a new one, and of one that is there.

use utoipa::ToSchema;

use model::{DestinationUrl, Host, SlugCase};

use crate::fields::{Fields, FromFields, boolean, number, parsed, word};

/// Longest time in which browsers are to reach a domain over https alone, in seconds: two years.
const HSTS_MAX: u32 = 63_072_000;

/// Whether capital letters in slugs tell links apart.
const CASES: &[(&str, SlugCase)] = &[
    (SlugCase::Insensitive.as_str(), SlugCase::Insensitive),
    (SlugCase::Sensitive.as_str(), SlugCase::Sensitive),
];

/// A domain to be added.
#[derive(Debug, ToSchema)]
pub struct NewDomain {
    /// The host name, which must lead to `redirect`.
    #[schema(value_type = String, example = "go.example.com")]
    pub(super) host: Host,
    /// Make links under it unless they name another. The first domain is the default one anyway. Where a proof is required, a new
    /// domain cannot be the default one yet.
    pub(super) default: Option<bool>,
    /// For how many seconds browsers are to reach it over https alone (`Strict-Transport-Security`), at most two years. Set it only
    /// when it has a certificate, and will keep one. Default: as the server is set.
    #[schema(maximum = 63_072_000)]
    pub(super) hsts_max_age: Option<u32>,
    /// Whether capital letters in slugs tell links apart: `insensitive` (`/Sale` and `/sale` are one link) or `sensitive` (they
    /// are two). It stays as it is from the first link on. Default: `insensitive`.
    #[schema(value_type = Option<String>, example = "insensitive")]
    pub(super) case: Option<SlugCase>,
    /// Where visitors go of a closed link under it, and of a slug that no link has. Default: for closed links that of the link
    /// settings, else a small page.
    #[schema(value_type = Option<String>, example = "https://example.com/")]
    pub(super) fallback_url: Option<DestinationUrl>,
}

impl FromFields for NewDomain {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let host = fields.required("host", parsed);
        let default = fields.optional("default", boolean);
        let hsts_max_age = fields.optional("hsts_max_age", number::<0, HSTS_MAX>);
        let case = fields.optional("case", word(CASES));
        let fallback_url = fields.optional("fallback_url", parsed);
        Some(Self { host: host?, default, hsts_max_age, case, fallback_url })
    }
}

/// A change of a domain.
#[derive(Debug, ToSchema)]
pub struct DomainChange {
    /// `true`: make links under it unless they name another.
    pub(super) default: Option<bool>,
    /// For how many seconds browsers are to reach it over https alone; `null`: as the server is set.
    #[schema(value_type = Option<u32>, maximum = 63_072_000)]
    pub(super) hsts_max_age: Option<Option<u32>>,
    /// Whether capital letters in slugs tell links apart: `insensitive` or `sensitive`. Once a link was made under the domain,
    /// archived or not, another value is refused.
    #[schema(value_type = Option<String>, example = "sensitive")]
    pub(super) case: Option<SlugCase>,
    /// Where visitors go of a closed link under it, and of a slug that no link has; `null`: for closed links where the link
    /// settings say, else a small page.
    #[schema(value_type = Option<String>, example = "https://example.com/")]
    pub(super) fallback_url: Option<Option<DestinationUrl>>,
}

impl FromFields for DomainChange {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            default: fields.change("default", boolean),
            hsts_max_age: fields.change_or_clear("hsts_max_age", number::<0, HSTS_MAX>),
            case: fields.change("case", word(CASES)),
            fallback_url: fields.change_or_clear("fallback_url", parsed),
        })
    }
}

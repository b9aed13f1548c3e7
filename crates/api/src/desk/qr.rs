//! The QR code of a link: what a camera reads is its tracked URL.

use utoipa::IntoParams;

use model::LinkId;

use super::links::{find, tracked_url};
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::fields::{Fields, FromFields, Wrong, invalid, word};
use crate::qr::{MARGIN_DEFAULT, MARGIN_MAX, Qr, SIZE_DEFAULT, SIZE_MAX, SIZE_MIN};

const FORMATS: &[(&str, Format)] = &[("svg", Format::Svg), ("png", Format::Png)];

/// How a code is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Of any size, for print.
    Svg,
    /// Pixels, for mails and documents.
    Png,
}

/// How the code is to look.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the OpenAPI document")]
pub struct QrQuery {
    /// `svg` (default) or `png`.
    format: Option<String>,
    /// Pixels across, 64 to 2048. Default: 512. A PNG has as many whole pixels a module as fit.
    #[param(minimum = 64, maximum = 2048)]
    size: Option<u32>,
    /// White modules around the code, 0 to 16. Default: 4, as cameras expect.
    #[param(minimum = 0, maximum = 16)]
    margin: Option<u32>,
}

/// What a query for a code says.
pub struct Asked {
    /// How it is drawn.
    pub format: Format,
    /// Pixels across.
    pub size: u32,
    /// Modules around it.
    pub margin: u32,
}

impl FromFields for Asked {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            format: fields.optional("format", word(FORMATS)).unwrap_or(Format::Svg),
            size: fields.optional("size", within::<SIZE_MIN, SIZE_MAX>).unwrap_or(SIZE_DEFAULT),
            margin: fields.optional("margin", within::<0, MARGIN_MAX>).unwrap_or(MARGIN_DEFAULT),
        })
    }
}

/// A whole number within bounds, as it stands in a query.
fn within<const MIN: u32, const MAX: u32>(value: &serde_json::Value) -> Result<u32, Wrong> {
    let number = value.as_str().and_then(|text| text.parse().ok());
    number
        .filter(|number| (MIN..=MAX).contains(number))
        .ok_or_else(|| invalid(format_args!("must be a whole number from {MIN} to {MAX}")))
}

/// A picture.
pub struct Image {
    /// Its media type.
    pub content_type: &'static str,
    /// It.
    pub bytes: Vec<u8>,
    /// How a file with it is called.
    pub file_name: String,
}

/// Draws the code of a link.
///
/// # Errors
/// When the workspace has no such link.
pub async fn image(shared: &Shared, caller: &Caller, id: LinkId, asked: &Asked) -> Result<Image, ApiError> {
    let link = find(shared, caller, id).await?;
    let code = Qr::of(&tracked_url(shared, &link)).map_err(|error| ApiError::Internal(error.into()))?;
    let slug = link.slug.to_string();
    // a header has no letters beyond ASCII, and a file name no slashes
    let is_plain = slug.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    let name = if is_plain { slug } else { link.id.to_string() };
    Ok(match asked.format {
        Format::Svg => Image {
            content_type: "image/svg+xml",
            bytes: code.svg(asked.size, asked.margin).into_bytes(),
            file_name: format!("qr-{name}.svg"),
        },
        Format::Png => Image {
            content_type: "image/png",
            bytes: code.png(asked.size, asked.margin),
            file_name: format!("qr-{name}.png"),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::known_fields;

    #[test]
    fn a_query_knows_what_its_description_says() {
        let described: Vec<String> = QrQuery::into_params(|| None).into_iter().map(|p| p.name).collect();

        assert_eq!(known_fields::<Asked>(), described);
    }
}

//! `/v1/links/{id}/qr`: the code to print on a poster.

use actix_web::http::header;
use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, get};

use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::{Query, path_id};
use crate::desk::qr::{self, QrQuery};
use crate::error::{ApiError, Problem};

/// Draw the QR code of a link
///
/// It holds the tracked URL, black on white. A sixth of it may be damaged or covered and it is still read. A link keeps its code
/// whatever is changed of it.
#[utoipa::path(tag = "links", params(("id" = String, Path), QrQuery), security(("api_key" = ["links:read"])), responses(
    (status = 200, description = "The picture", content(
        (String = "image/svg+xml"), (Vec<u8> = "image/png"))),
    (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/links/{id}/qr")]
pub async fn show_qr(
    caller: Caller,
    id: Path<String>,
    query: Query,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::LinksRead)?;
    let id = path_id(&id, "link")?;
    let image = qr::image(&shared, &caller, id, &query.read()?).await?;
    let disposition = format!("inline; filename=\"{}\"", image.file_name);
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, image.content_type))
        .insert_header((header::CONTENT_DISPOSITION, disposition))
        .body(image.bytes))
}

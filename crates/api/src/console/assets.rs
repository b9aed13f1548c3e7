//! What pages load: one stylesheet, one script, the icon. Each is joined from files named for their part of the console.
//!
//! Pages name them with a mark of their content, so that browsers keep them for long and still see a new release at once.

use std::sync::LazyLock;

use actix_web::http::header;
use actix_web::web::ServiceConfig;
use actix_web::{HttpRequest, HttpResponse, get};
use sha2::{Digest as _, Sha256};

/// In this order, since later rules win.
const STYLESHEET: &str = concat!(
    include_str!("../../assets/styles/frame.css"),
    include_str!("../../assets/styles/plots.css"),
    include_str!("../../assets/styles/overview.css"),
    include_str!("../../assets/styles/links.css"),
    include_str!("../../assets/styles/people.css"),
    include_str!("../../assets/styles/webhooks.css"),
    include_str!("../../assets/styles/docs.css"),
);
const SCRIPT: &str = concat!(
    include_str!("../../assets/scripts/times.js"),
    include_str!("../../assets/scripts/copy.js"),
    include_str!("../../assets/scripts/live.js"),
    include_str!("../../assets/scripts/wizard.js"),
);
const ICON: &str = include_str!("../../assets/icon.svg");

/// For what is named with its mark.
const KEPT: &str = "public, max-age=31536000, immutable";

/// For what is named without it.
const ASKED_AGAIN: &str = "no-cache";

static MARK: LazyLock<String> = LazyLock::new(|| {
    let digest = Sha256::new().chain_update(STYLESHEET).chain_update(SCRIPT).chain_update(ICON).finalize();
    digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
});

/// What stands after the path of an asset: another one when any of them has changed.
pub fn mark() -> &'static str {
    &MARK
}

/// Adds the assets.
pub fn configure(config: &mut ServiceConfig) {
    config.service(stylesheet).service(script).service(icon);
}

#[get("/assets/console.css")]
async fn stylesheet(request: HttpRequest) -> HttpResponse {
    asset(&request, "text/css; charset=utf-8", STYLESHEET)
}

#[get("/assets/console.js")]
async fn script(request: HttpRequest) -> HttpResponse {
    asset(&request, "text/javascript; charset=utf-8", SCRIPT)
}

#[get("/assets/icon.svg")]
async fn icon(request: HttpRequest) -> HttpResponse {
    asset(&request, "image/svg+xml", ICON)
}

fn asset(request: &HttpRequest, content_type: &'static str, text: &'static str) -> HttpResponse {
    let caching = if request.query_string() == mark() { KEPT } else { ASKED_AGAIN };
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, content_type))
        .insert_header((header::CACHE_CONTROL, caching))
        .body(text)
}

//! What redirects are compared with: bare actix-web answering a constant 302.

use std::net::SocketAddr;

use actix_web::http::header::LOCATION;
use actix_web::{App, HttpResponse, HttpServer, web};

/// Serves until it is killed.
pub async fn serve(addr: SocketAddr) -> anyhow::Result<()> {
    let found = || async { HttpResponse::Found().insert_header((LOCATION, "https://example.com/")).finish() };
    HttpServer::new(move || App::new().default_service(web::to(found))).workers(1).bind(addr)?.run().await?;
    Ok(())
}

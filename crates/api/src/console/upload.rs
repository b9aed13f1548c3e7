//! Forms that send files (`multipart/form-data`): texts by name, and the token without which nothing they say is done.

use std::future::Future;
use std::pin::Pin;
use std::time::Instant;

use actix_multipart::Multipart;
use actix_web::dev::Payload;
use actix_web::web::{BytesMut, Data};
use actix_web::{FromRequest, HttpRequest};
use futures::StreamExt as _;
use subtle::ConstantTimeEq as _;

use super::{PageError, Signed};
use crate::app::Shared;
use crate::at_once::Running;
use crate::error::ApiError;

/// Bytes of all fields together.
const UPLOAD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Forms with files that are in hand at once, with all that they hold.
pub const AT_ONCE_MAX: usize = 32;

/// The same of one person, or one key, however often they are signed in.
pub const OWN_AT_ONCE_MAX: usize = 4;

/// Fields of a form, files among them.
const FIELDS_MAX: usize = 20;

/// A form whose token is the session's.
pub struct Upload {
    /// When its first byte was looked at, which is when its request began.
    pub began_at: Instant,
    fields: Vec<(String, Vec<u8>)>,
    _running: Running<String>,
}

impl Upload {
    /// The bytes of a field or file; `None` when it was left empty.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        let found = self.fields.iter().find(|(field, value)| field == name && !value.is_empty());
        found.map(|(_, value)| value.as_slice())
    }

    /// The text of a field; what is no UTF-8 is replaced.
    pub fn text(&self, name: &str) -> String {
        String::from_utf8_lossy(self.bytes(name).unwrap_or_default()).into_owned()
    }
}

impl FromRequest for Upload {
    type Error = PageError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, PageError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let shared = request.app_data::<Data<Shared>>().expect("the app is made with it").clone();
        let began_at = Instant::now();
        let signed = Signed::from_request(request, payload);
        let multipart = Multipart::new(request.headers(), payload.take());
        Box::pin(async move {
            // without a session, or with one that has ended, there is nothing to read: its page sends people to sign in
            let Signed { caller, session, .. } = signed.await?;
            let running = shared.uploads.begin(caller.actor()).map_err(|_| {
                ApiError::Busy("as many files as may be sent at once are on their way: try again in a moment")
            })?;
            let upload = Self { began_at, fields: read(multipart).await?, _running: running };
            let given = upload.bytes("csrf").unwrap_or_default();
            let is_own: bool = given.ct_eq(session.token.as_bytes()).into();
            if is_own { Ok(upload) } else { Err(ApiError::ForeignForm.into()) }
        })
    }
}

async fn read(mut multipart: Multipart) -> Result<Vec<(String, Vec<u8>)>, ApiError> {
    let malformed = |error: actix_multipart::MultipartError| ApiError::Malformed(error.to_string());
    let mut fields = Vec::new();
    let mut left = UPLOAD_BYTES_MAX;
    while let Some(field) = multipart.next().await {
        let mut field = field.map_err(malformed)?;
        if fields.len() == FIELDS_MAX {
            return Err(ApiError::Malformed(format!("a form has at most {FIELDS_MAX} fields")));
        }
        let name = field.name().unwrap_or_default().to_owned();
        let mut bytes = BytesMut::new();
        while let Some(chunk) = field.next().await {
            let chunk = chunk.map_err(malformed)?;
            left = left.checked_sub(chunk.len()).ok_or(ApiError::TooLarge(UPLOAD_BYTES_MAX))?;
            bytes.extend_from_slice(&chunk);
        }
        fields.push((name, bytes.to_vec()));
    }
    Ok(fields)
}

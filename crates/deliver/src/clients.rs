//! The HTTP clients: one for all endpoints, so that connections are kept and reused, and one for each endpoint that is shown a
//! certificate of ours: a connection belongs to who opened it, and so does a session of https.
//!
//! None follows redirects, takes a proxy from its surroundings or keeps cookies. Where the operator names a proxy, all connect through
//! it ([`crate::tunnel`]); what comes back is the same.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Uri};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use model::EndpointId;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::sign::SingleCertAndKey;
use rustls_platform_verifier::BuilderVerifierExt as _;
use tower_layer::Layer as _;
use url::Url;
use webhook::auth::ClientIdentity;

use crate::destination::GuardedResolver;
use crate::endpoint::Endpoint;
use crate::send_error::SendError;
use crate::sender::SenderError;
use crate::settings::SendSettings;
use crate::timings::{TimedConnections, TimedConnector, TimedSessions};
use crate::tunnel::{Answers, TunnelConnector};

/// Most headers that an HTTP/1 answer may have; with more it is not read.
const RESPONSE_HEADERS_PARSED_MAX: usize = 100;

/// Most bytes of headers that an HTTP/2 answer may have.
const RESPONSE_HEADER_LIST_BYTES_MAX: u32 = 64 * 1024;

/// Shorter than the minute after which many servers and balancers close an idle connection.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// Sessions of https that are kept, so that the next handshake is shorter: as many as rustls keeps by itself.
const TLS_SESSIONS_MAX: usize = 256;

/// The same for a client that knows one server.
const TLS_SESSIONS_OF_ONE_MAX: usize = 8;

/// The clients of a sender.
pub struct Clients {
    settings: SendSettings,
    resolver: GuardedResolver,
    tls: ClientConfig,
    shared: Client,
    /// What the proxy has said to any of them.
    answers: Answers,
    /// Those with a certificate, the one that was used longest ago first; at most `client_certificates_max`.
    own: Mutex<Vec<Own>>,
}

/// One of them. Clones share their connections.
#[derive(Clone)]
pub struct Client(Way);

#[derive(Clone)]
enum Way {
    Direct(reqwest::Client),
    Proxied(Arc<legacy::Client<TimedConnector<TunnelConnector>, reqwest::Body>>),
}

impl Client {
    /// Posts.
    ///
    /// # Errors
    /// When no answer begins.
    pub async fn post(
        &self,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<reqwest::Response, SendError> {
        let client = match &self.0 {
            Way::Direct(client) => {
                let sent = client.post(url.clone()).headers(headers).body(body).send().await;
                // in the text the URL would hide the cause
                return sent.map_err(|error| SendError::Direct(error.without_url()));
            }
            Way::Proxied(client) => client,
        };
        let uri: Uri =
            url.as_str().parse().map_err(|error: http::uri::InvalidUri| SendError::Uri(error.into()))?;
        let request = http::Request::post(uri).body(reqwest::Body::from(body));
        let mut request = request.map_err(SendError::Uri)?;
        *request.headers_mut() = headers;
        request.headers_mut().entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        let response = client.request(request).await.map_err(SendError::Proxied)?;
        Ok(reqwest::Response::from(response.map(reqwest::Body::wrap)))
    }
}

struct Own {
    endpoint_id: EndpointId,
    identity: Arc<ClientIdentity>,
    client: Client,
}

impl Clients {
    /// The shared one is made at once. The TLS provider must be installed before.
    ///
    /// # Errors
    /// [`SenderError`] when TLS cannot work on this machine.
    pub fn new(settings: &SendSettings, resolver: GuardedResolver) -> Result<Self, SenderError> {
        let mut tls =
            ClientConfig::builder().with_platform_verifier().map_err(SenderError::Tls)?.with_no_client_auth();
        prepare(&mut tls, TLS_SESSIONS_MAX);
        let answers = Answers::default();
        let shared = client(settings, &resolver, tls.clone(), &answers).map_err(SenderError::Client)?;
        Ok(Self { settings: settings.clone(), resolver, tls, shared, answers, own: Mutex::default() })
    }

    /// The one that all share.
    pub fn shared(&self) -> &Client {
        &self.shared
    }

    /// The one that posts to this endpoint.
    ///
    /// # Errors
    /// When one of its own cannot be made.
    pub fn of(&self, endpoint: &Endpoint) -> Result<Client, reqwest::Error> {
        let Some(identity) = &endpoint.identity else { return Ok(self.shared.clone()) };
        let mut own = self.own.lock().expect("nobody panics with the clients in hand");
        let is_its = |own: &Own| own.endpoint_id == endpoint.id && Arc::ptr_eq(&own.identity, identity);
        if let Some(at) = own.iter().position(is_its) {
            let found = own.remove(at);
            let client = found.client.clone();
            own.push(found);
            return Ok(client);
        }
        // what it had before it was changed is closed
        own.retain(|own| own.endpoint_id != endpoint.id);
        if !own.is_empty() && own.len() >= self.settings.client_certificates_max {
            own.remove(0);
        }
        let client = client(&self.settings, &self.resolver, self.tls_of(identity), &self.answers)?;
        own.push(Own { endpoint_id: endpoint.id, identity: Arc::clone(identity), client: client.clone() });
        Ok(client)
    }

    fn tls_of(&self, identity: &ClientIdentity) -> ClientConfig {
        let mut tls = match &identity.authorities {
            Some(authorities) => {
                ClientConfig::builder().with_root_certificates(authorities.clone()).with_no_client_auth()
            }
            None => self.tls.clone(),
        };
        prepare(&mut tls, TLS_SESSIONS_OF_ONE_MAX);
        tls.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(Arc::clone(&identity.key)));
        tls
    }
}

/// Sessions that tell when a handshake begins, and belong to this client alone.
fn prepare(tls: &mut ClientConfig, sessions_max: usize) {
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    tls.resumption = Resumption::store(Arc::new(TimedSessions::new(sessions_max)));
}

fn client(
    settings: &SendSettings,
    resolver: &GuardedResolver,
    tls: ClientConfig,
    answers: &Answers,
) -> Result<Client, reqwest::Error> {
    if let Some(proxy) = &settings.proxy {
        let (resolver, limit) = (resolver.clone(), settings.connect_timeout);
        let connector = TunnelConnector::new(proxy.clone(), resolver, tls, limit, answers.clone());
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_max_idle_per_host(settings.in_flight_max)
            .http1_max_headers(RESPONSE_HEADERS_PARSED_MAX)
            .build(TimedConnections.layer(connector));
        return Ok(Client(Way::Proxied(Arc::new(client))));
    }
    reqwest::Client::builder()
        .dns_resolver(resolver.clone())
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .connector_layer(TimedConnections)
        .tls_backend_preconfigured(tls)
        .connect_timeout(settings.connect_timeout)
        .tcp_nodelay(true)
        .tcp_keepalive(POOL_IDLE_TIMEOUT / 2)
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .pool_max_idle_per_host(settings.in_flight_max)
        .http1_max_headers(RESPONSE_HEADERS_PARSED_MAX)
        .http2_max_header_list_size(RESPONSE_HEADER_LIST_BYTES_MAX)
        .build()
        .map(|client| Client(Way::Direct(client)))
}

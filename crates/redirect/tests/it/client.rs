//! A visitor that sends exactly what a test says: no path is mended, no redirect followed.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Status line and headers, sorted, without `Date`.
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(found, _)| *found == name).map(|(_, value)| value).next()
    }

    /// All of it, but for the style sheet of pages: its hash stands in their policy.
    pub fn shown(&self) -> String {
        let body = match (self.body.split_once("<style>"), self.body.split_once("</style>")) {
            (Some((before, _)), Some((_, after))) => format!("{before}<style></style>{after}"),
            _ => self.body.clone(),
        };
        format!("{}\n\n{body}", self.head)
    }

    pub fn location(&self) -> &str {
        self.header("location").expect("a redirect")
    }
}

/// One GET on a connection of its own.
pub async fn get(addr: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    send(addr, "GET", path, headers).await
}

/// One request on a connection of its own; the host is `go.example.com` unless `headers` say otherwise.
pub async fn send(addr: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut browser = Browser::connect(addr).await.expect("the redirect listens");
    browser.send(method, path, headers).await.expect("an answer")
}

/// One form on a connection of its own, as a browser sends it.
pub async fn post(addr: SocketAddr, path: &str, form: &str, headers: &[(&str, &str)]) -> Answer {
    let mut head =
        format!("POST {path} HTTP/1.1\r\nhost: go.example.com\r\ncontent-length: {}\r\n", form.len());
    if !headers.iter().any(|(name, _)| *name == "content-type") {
        head.push_str("content-type: application/x-www-form-urlencoded\r\n");
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let request = format!("{head}\r\n{form}");
    raw(addr, "POST", request.as_bytes()).await.expect("an answer")
}

/// These bytes on a connection of its own; `None` when it is closed without an answer.
pub async fn raw(addr: SocketAddr, method: &str, request: &[u8]) -> Option<Answer> {
    let mut browser = Browser::connect(addr).await.expect("the redirect listens");
    browser.stream.get_mut().write_all(request).await.ok()?;
    browser.answer(method).await.ok()
}

/// A connection that stays open.
pub struct Browser {
    stream: BufReader<TcpStream>,
}

impl Browser {
    pub async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    pub async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) -> io::Result<Answer> {
        let mut request = format!("{method} {path} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            request.push_str("host: go.example.com\r\n");
        }
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        self.stream.get_mut().write_all(request.as_bytes()).await?;
        self.answer(method).await
    }

    async fn answer(&mut self, method: &str) -> io::Result<Answer> {
        let (mut status_line, mut headers, mut length) = (String::new(), Vec::new(), 0);
        if self.stream.read_line(&mut status_line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end().to_owned();
            let Some((name, value)) = line.split_once(": ") else { break };
            if name == "content-length" {
                length = value.parse().expect("a length");
            }
            if name != "date" {
                headers.push(line);
            }
        }
        headers.sort();
        let mut body = vec![0; if method == "HEAD" { 0 } else { length }];
        self.stream.read_exact(&mut body).await?;
        let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
        Ok(Answer {
            status: status.expect("a status line"),
            head: format!("{}\n{}", status_line.trim_end(), headers.join("\n")),
            body: String::from_utf8(body).expect("text"),
        })
    }
}

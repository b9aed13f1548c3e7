//! One connection: requests are read whole, answers are written as the script says.

use std::io;
use std::time::Duration;

use chrono::Utc;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::{Answer, InFlight, Received, Response, State};

/// Longest head and longest body that are read, in bytes.
const HEAD_BYTES_MAX: usize = 1024 * 1024;
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

type Connection = BufReader<TcpStream>;

/// What becomes of the connection after an answer.
#[derive(PartialEq, Eq)]
enum Next {
    KeepAlive,
    Close,
}

pub(super) async fn serve(stream: TcpStream, number: usize, state: &State) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut connection = BufReader::new(stream);
    while let Some(request) = read_request(&mut connection, number).await? {
        let in_flight = InFlight::begin(state);
        let answer = state.receive(request);
        let next = write_answer(connection.get_mut(), answer, state).await?;
        drop(in_flight);
        if next == Next::Close {
            break;
        }
    }
    Ok(())
}

/// The next request; `None` when the client has closed the connection.
async fn read_request(connection: &mut Connection, number: usize) -> io::Result<Option<Received>> {
    let Some(first) = read_line(connection).await? else { return Ok(None) };
    let mut words = first.split(' ').map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Err(invalid("request line"));
    };

    let mut headers = Vec::new();
    let mut head_bytes = first.len();
    loop {
        let line = read_line(connection).await?.ok_or_else(|| invalid("end within the headers"))?;
        if line.is_empty() {
            break;
        }
        head_bytes += line.len();
        if head_bytes > HEAD_BYTES_MAX {
            return Err(invalid("too many headers"));
        }
        let (name, value) = line.split_once(':').ok_or_else(|| invalid("header"))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }

    let mut request =
        Received { method, path, headers, body: Vec::new(), at: Utc::now(), connection: number };
    request.body = read_body(connection, &request).await?;
    request.at = Utc::now();
    Ok(Some(request))
}

async fn read_body(connection: &mut Connection, request: &Received) -> io::Result<Vec<u8>> {
    if request.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        return read_chunks(connection).await;
    }
    let length = request.header("content-length").unwrap_or("0").parse().map_err(|_| invalid("length"))?;
    read_exactly(connection, length).await
}

async fn read_chunks(connection: &mut Connection) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(connection).await?.ok_or_else(|| invalid("end within the chunks"))?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let length = usize::from_str_radix(digits, 16).map_err(|_| invalid("chunk length"))?;
        body.extend(read_exactly(connection, length).await?);
        read_line(connection).await?;
        if length == 0 {
            return Ok(body);
        }
        if body.len() > BODY_BYTES_MAX {
            return Err(invalid("too long a body"));
        }
    }
}

async fn read_exactly(connection: &mut Connection, length: usize) -> io::Result<Vec<u8>> {
    if length > BODY_BYTES_MAX {
        return Err(invalid("too long a body"));
    }
    let mut bytes = vec![0; length];
    connection.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// A line without its end; `None` at the end of the connection.
async fn read_line(connection: &mut Connection) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    connection.take(HEAD_BYTES_MAX as u64).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Ok(None);
    }
    let line = String::from_utf8(line).map_err(|_| invalid("header bytes"))?;
    Ok(Some(line.trim_end_matches(['\r', '\n']).to_owned()))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

async fn write_answer(stream: &mut TcpStream, answer: Answer, state: &State) -> io::Result<Next> {
    match answer {
        Answer::Status(status) => stream.write_all(&whole(&Response::new(status))).await?,
        Answer::Response(response) => stream.write_all(&whole(&response)).await?,
        Answer::Redirect(url) => {
            stream.write_all(&whole(&Response::new(302).header("Location", &url))).await?;
        }
        Answer::Late(delay) => {
            tokio::select! {
                closed = wait_closed(stream) => return closed.map(|()| Next::Close),
                () = tokio::time::sleep(delay) => {}
            }
            stream.write_all(&whole(&Response::new(200))).await?;
        }
        Answer::Held => {
            let mut is_released = state.is_released.subscribe();
            tokio::select! {
                closed = wait_closed(stream) => return closed.map(|()| Next::Close),
                _ = is_released.wait_for(|is_released| *is_released) => {}
            }
            stream.write_all(&whole(&Response::new(200))).await?;
        }
        Answer::Slow(pause) => drip(stream, &whole(&Response::new(200).body("slow")), pause).await?,
        Answer::Hang => {
            wait_closed(stream).await?;
            return Ok(Next::Close);
        }
        Answer::Cut => return Ok(Next::Close),
        Answer::CutBody => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nthe beginning").await?;
            return Ok(Next::Close);
        }
        Answer::Endless => endless(stream).await?,
        Answer::HugeHeaders => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
            let header = format!("X-Large: {}\r\n", "x".repeat(1000));
            for _ in 0..1000 {
                stream.write_all(header.as_bytes()).await?;
            }
            stream.write_all(b"Content-Length: 0\r\n\r\n").await?;
        }
        Answer::Garbage => {
            stream.write_all(b"220 smtp.example ESMTP\r\n").await?;
            return Ok(Next::Close);
        }
    }
    Ok(Next::KeepAlive)
}

fn whole(response: &Response) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {} Scripted\r\n", response.status).into_bytes();
    for (name, value) in &response.headers {
        bytes.extend(format!("{name}: {value}\r\n").into_bytes());
    }
    // a 204 must not have a length
    if response.status != 204 {
        bytes.extend(format!("Content-Length: {}\r\n", response.body.len()).into_bytes());
    }
    bytes.extend(b"\r\n");
    bytes.extend(&response.body);
    bytes
}

async fn drip(stream: &mut TcpStream, bytes: &[u8], pause: Duration) -> io::Result<()> {
    for byte in bytes {
        stream.write_all(&[*byte]).await?;
        tokio::time::sleep(pause).await;
    }
    Ok(())
}

async fn endless(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
    let chunk = format!("400\r\n{}\r\n", "x".repeat(0x400));
    loop {
        stream.write_all(chunk.as_bytes()).await?;
    }
}

/// Reads until the client gives up.
async fn wait_closed(stream: &mut TcpStream) -> io::Result<()> {
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

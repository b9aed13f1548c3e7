//! `clickwire mint`: recipients' links of a template, made with a minting key. It asks nobody.

use std::fs;
use std::io::{self, BufRead, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use chrono::NaiveDate;
use clap::Args;
use model::minting::{EndDay, MARK, MintingKey, RecipientLink};
use serde::Serialize;

use crate::out;

/// Longest line that is read, in bytes.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Lines that are wrong and are told of one by one; the rest is counted.
const WRONG_TOLD_MAX: u64 = 20;

/// Make recipients' links of a template, without asking anybody
///
/// Recipients are numbers that you choose; a click says in `contact_id` whose link it was.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Number of the template, as the API tells it (PUT /v1/links/ID/template)
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    template: u32,

    /// File with the minting key, as the API answered it (POST /v1/minting-keys)
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,

    /// The recipient, a number of up to 64 bits; may be given more than once. Otherwise they are read from standard input, one
    /// in a line; what stands behind a comma in a line stays, and the link is written after it
    #[arg(long = "recipient", value_name = "NUMBER")]
    recipients: Vec<u64>,

    /// Day (UTC) from whose beginning on the links lead nowhere, as in 2027-03-01
    #[arg(long, value_name = "DATE")]
    expires: Option<NaiveDate>,

    /// What stands before each token: `url_prefix` of the template
    #[arg(long, value_name = "URL", default_value = "/_")]
    url_prefix: String,

    /// Print one line of JSON for each link
    #[arg(long)]
    json: bool,
}

/// A link that was made.
#[derive(Serialize)]
struct Made<'a> {
    /// As text: not every reader of JSON has numbers of 64 bits.
    recipient: String,
    url: &'a str,
}

/// Makes links that differ in their recipients.
struct Mint {
    key: MintingKey,
    template: u32,
    ends_on: Option<EndDay>,
    url_prefix: String,
    is_json: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mint = Mint::new(options)?;
    let mut output = BufWriter::new(io::stdout().lock());
    let written = if options.recipients.is_empty() {
        mint.each_line(io::stdin().lock(), &mut output)
    } else {
        let mut write = |recipient: &u64| mint.write(*recipient, &recipient.to_string(), &mut output);
        options.recipients.iter().try_for_each(&mut write).map(|()| 0)
    };
    let written = written.and_then(|wrong| output.flush().map(|()| wrong));
    match written {
        Ok(0) => Ok(ExitCode::SUCCESS),
        Ok(wrong) => {
            out::error(&format!("{wrong} lines have no recipient: they were passed over"));
            Ok(ExitCode::FAILURE)
        }
        // who reads has enough
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error).context("failed to read recipients or to write links"),
    }
}

impl Mint {
    fn new(options: &Options) -> anyhow::Result<Self> {
        if !options.url_prefix.ends_with(MARK) {
            bail!("--url-prefix must end with `{MARK}`, as `url_prefix` of the template does");
        }
        let ends_on = options.expires.map(EndDay::of).transpose().context("--expires cannot be used")?;
        Ok(Self {
            key: key(&options.key_file)?,
            template: options.template,
            ends_on,
            url_prefix: options.url_prefix.clone(),
            is_json: options.json,
        })
    }

    /// One link for each line; tells how many lines have no recipient. Lines that are empty are passed over.
    fn each_line(&self, mut input: impl BufRead, output: &mut impl Write) -> io::Result<u64> {
        let (mut line, mut at, mut wrong) = (Vec::new(), 0u64, 0u64);
        loop {
            line.clear();
            let room = LINE_BYTES_MAX as u64 + 1;
            if input.by_ref().take(room).read_until(b'\n', &mut line)? == 0 {
                return Ok(wrong);
            }
            at += 1;
            if line.len() > LINE_BYTES_MAX {
                let text = format!("line {at} is longer than {LINE_BYTES_MAX} bytes");
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end_matches(['\n', '\r']);
            if text.trim().is_empty() {
                continue;
            }
            let first = text.split(',').next().unwrap_or_default();
            match first.trim().trim_matches('"').parse() {
                Ok(recipient) => self.write(recipient, text, output)?,
                Err(_) => {
                    wrong += 1;
                    if wrong <= WRONG_TOLD_MAX {
                        out::error(&format!("line {at} does not begin with a number of up to 64 bits"));
                    }
                }
            }
        }
    }

    /// Writes the link of a recipient; `text` is what was read of it.
    fn write(&self, recipient: u64, text: &str, output: &mut impl Write) -> io::Result<()> {
        let says = RecipientLink { template: self.template, recipient, ends_on: self.ends_on };
        let url = format!("{}{}", self.url_prefix, self.key.token(&says));
        if self.is_json {
            serde_json::to_writer(&mut *output, &Made { recipient: recipient.to_string(), url: &url })?;
            return writeln!(output);
        }
        match text.contains(',') {
            true => writeln!(output, "{text},{url}"),
            false => writeln!(output, "{url}"),
        }
    }
}

fn key(file: &Path) -> anyhow::Result<MintingKey> {
    let text = fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?;
    text.trim().parse().with_context(|| format!("{} holds no minting key", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::minting::Presented;

    fn mint(is_json: bool) -> Mint {
        let key = MintingKey::generate(5).expect("a number");
        Mint { key, template: 17, ends_on: None, url_prefix: "https://go.example.com/_".into(), is_json }
    }

    fn recipient(mint: &Mint, url: &str) -> u64 {
        let token = url.strip_prefix(&mint.url_prefix).expect("the prefix");
        let presented = Presented::read(token).expect("a token");
        assert!(presented.is_signed_with(&mint.key));
        presented.says().recipient
    }

    #[test]
    fn each_line_becomes_a_link_and_what_is_wrong_is_counted() {
        let mint = mint(false);
        let mut output = Vec::new();

        let input = "17\n\r\n\"18\",Ada,Lovelace\r\ncontact\n18446744073709551615";
        let wrong = mint.each_line(input.as_bytes(), &mut output).expect("read");

        let output = String::from_utf8(output).expect("text");
        let lines: Vec<&str> = output.lines().collect();
        assert_eq!((wrong, lines.len()), (1, 3));
        assert_eq!(recipient(&mint, lines[0]), 17);
        let (before, url) = lines[1].rsplit_once(',').expect("a column");
        assert_eq!((before, recipient(&mint, url)), ("\"18\",Ada,Lovelace", 18));
        assert_eq!(recipient(&mint, lines[2]), u64::MAX);
        let long = "1".repeat(LINE_BYTES_MAX + 1);
        assert!(mint.each_line(long.as_bytes(), &mut Vec::new()).is_err());
    }

    #[test]
    fn as_json_each_link_says_whose_it_is() {
        let mint = mint(true);
        let mut output = Vec::new();

        mint.write(u64::MAX, "18446744073709551615", &mut output).expect("written");

        let made: serde_json::Value = serde_json::from_slice(&output).expect("JSON");
        assert_eq!(made["recipient"], "18446744073709551615");
        assert_eq!(recipient(&mint, made["url"].as_str().expect("a URL")), u64::MAX);
    }
}

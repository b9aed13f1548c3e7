//! Finds the programs of PostgreSQL and NATS on this machine.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::EmbeddedError;

/// Oldest PostgreSQL that the migrations work on.
pub const POSTGRES_VERSION_MIN: u32 = 15;

/// Oldest nats-server whose streams keep what they acknowledged.
pub const NATS_SERVER_VERSION_MIN: (u32, u32, u32) = (2, 12, 3);

/// The programs of a PostgreSQL server that we call.
const POSTGRES_PROGRAMS: [&str; 3] = ["postgres", "initdb", "createdb"];

/// A folder with the programs of one PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PostgresPrograms {
    pub(crate) dir: PathBuf,
    pub(crate) major: u32,
}

impl PostgresPrograms {
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// The versions of the PostgreSQL and of the nats-server that would be started for new data, without their names.
///
/// # Errors
/// [`EmbeddedError`] says what is missing and which command mends it.
pub fn versions() -> Result<(String, String), EmbeddedError> {
    // nothing can lie in it
    let no_data = Path::new("/dev/null");
    let postgres = find_postgres(no_data)?.program("postgres");
    let nats_server = find_nats_server(no_data)?;
    Ok((told_version(&postgres), told_version(&nats_server)))
}

/// `15.14 (Debian 15.14-0+deb12u1)`, `2.14.6`: what a program tells, from its first digit on.
fn told_version(program: &Path) -> String {
    let told = output(program, "--version").unwrap_or_default();
    told.trim_start_matches(|c: char| !c.is_ascii_digit()).to_owned()
}

/// The PostgreSQL to use: the first that is new enough, or the one that wrote the data.
pub(crate) fn find_postgres(data: &Path) -> Result<PostgresPrograms, EmbeddedError> {
    let mut looked_at = Vec::new();
    let mut usable = Vec::new();
    for dir in postgres_dirs() {
        match look_at_postgres(&dir) {
            Ok(programs) if programs.major >= POSTGRES_VERSION_MIN => usable.push(programs),
            Ok(programs) => looked_at.push(format!("{}: version {}", dir.display(), programs.major)),
            Err(why) => looked_at.push(format!("{}: {why}", dir.display())),
        }
    }
    let wanted = fs::read_to_string(data.join("PG_VERSION")).ok().and_then(|text| text.trim().parse().ok());
    let found = usable.iter().map(|programs| programs.major.to_string()).collect::<Vec<_>>().join(", ");
    let fitting =
        usable.into_iter().find(|programs| wanted.is_none_or(|wanted: u32| programs.major == wanted));
    match (fitting, wanted) {
        (Some(programs), _) => Ok(programs),
        (None, Some(wanted)) if !found.is_empty() => {
            Err(EmbeddedError::PostgresVersion { dir: data.to_owned(), wanted, found })
        }
        (None, _) => {
            Err(EmbeddedError::NoPostgres { min: POSTGRES_VERSION_MIN, looked_at: listed(&looked_at) })
        }
    }
}

/// Where PostgreSQL's programs may be: as told, as its own tool tells, where Debian puts them (newest first),
/// and behind links on the PATH.
fn postgres_dirs() -> Vec<PathBuf> {
    if let Some(dir) = env::var_os("CLICKWIRE_PG_BIN") {
        return vec![dir.into()];
    }
    let mut dirs: Vec<PathBuf> =
        output(Path::new("pg_config"), "--bindir").map(PathBuf::from).into_iter().collect();
    let mut debian: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    debian.sort_by_key(|(major, _)| std::cmp::Reverse(*major));
    dirs.extend(debian.into_iter().map(|(_, dir)| dir));
    // a lone link in /usr/local/bin leads to the folder that has the other programs too
    dirs.extend(
        on_path("postgres").filter_map(|link| Some(fs::canonicalize(link).ok()?.parent()?.to_owned())),
    );
    without_repeats(dirs)
}

fn look_at_postgres(dir: &Path) -> Result<PostgresPrograms, String> {
    if let Some(missing) = POSTGRES_PROGRAMS.iter().find(|name| !dir.join(name).is_file()) {
        return Err(format!("no {missing}"));
    }
    // `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`
    let text = output(&dir.join("postgres"), "--version").ok_or("postgres does not run")?;
    let version = text.split_whitespace().nth(2).unwrap_or_default();
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    let major = digits.parse().map_err(|_| format!("unknown version {text:?}"))?;
    Ok(PostgresPrograms { dir: dir.to_owned(), major })
}

/// The nats-server to use: the first that is new enough.
pub(crate) fn find_nats_server(data_dir: &Path) -> Result<PathBuf, EmbeddedError> {
    let mut looked_at = Vec::new();
    for program in nats_servers(data_dir) {
        match nats_server_version(&program) {
            Some(version) if version >= NATS_SERVER_VERSION_MIN => return Ok(program),
            Some(version) => looked_at.push(format!("{}: version {}", program.display(), dotted(version))),
            None => looked_at.push(format!("{}: does not tell its version", program.display())),
        }
    }
    Err(EmbeddedError::NoNats { min: dotted(NATS_SERVER_VERSION_MIN), looked_at: listed(&looked_at) })
}

/// Where a nats-server may be: as told, beside the data, where `scripts/nats-server` puts it, on the PATH.
fn nats_servers(data_dir: &Path) -> Vec<PathBuf> {
    if let Some(program) = env::var_os("CLICKWIRE_NATS_SERVER") {
        return vec![program.into()];
    }
    let cache = env::var_os("XDG_CACHE_HOME")
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")));
    let dirs = [Some(data_dir.join("bin")), cache.map(|dir| dir.join("clickwire/bin"))];
    let mut programs: Vec<PathBuf> =
        dirs.into_iter().flatten().flat_map(|dir| nats_servers_in(&dir)).collect();
    programs.extend(on_path("nats-server"));
    programs.push("/usr/local/bin/nats-server".into());
    programs.retain(|program| program.is_file());
    without_repeats(programs)
}

/// `nats-server` and `nats-server-<version>`, newest first.
fn nats_servers_in(dir: &Path) -> Vec<PathBuf> {
    let is_one = |path: &PathBuf| {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        name.strip_prefix("nats-server")
            .is_some_and(|rest| rest.is_empty() || parse_version(&rest[1..]).is_some())
    };
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut programs: Vec<PathBuf> = entries.filter(is_one).collect();
    programs.sort_by_key(|path| {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        std::cmp::Reverse(name.strip_prefix("nats-server-").and_then(parse_version))
    });
    programs
}

fn nats_server_version(program: &Path) -> Option<(u32, u32, u32)> {
    // `nats-server: v2.14.6`
    parse_version(output(program, "--version")?.rsplit_once('v')?.1)
}

/// `2.14.6` or `2.15.0-RC.1`.
fn parse_version(text: &str) -> Option<(u32, u32, u32)> {
    let release = text.trim().split_once('-').map_or(text.trim(), |(release, _)| release);
    let mut parts = release.split('.').map(|part| part.parse().ok());
    let version = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(version)
}

fn dotted((major, minor, patch): (u32, u32, u32)) -> String {
    format!("{major}.{minor}.{patch}")
}

fn on_path(name: &str) -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let programs: Vec<PathBuf> =
        env::split_paths(&path).map(|dir| dir.join(name)).filter(|p| p.is_file()).collect();
    programs.into_iter()
}

/// What a program answers to one argument, when it succeeds.
fn output(program: &Path, arg: &str) -> Option<String> {
    let output = Command::new(program).arg(arg).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

fn listed(looked_at: &[String]) -> String {
    if looked_at.is_empty() { "the usual places".to_owned() } else { looked_at.join("; ") }
}

fn without_repeats(paths: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut seen = Vec::with_capacity(paths.len());
    for path in paths {
        if !seen.contains(&path) {
            seen.push(path);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_with_and_without_a_suffix() {
        assert_eq!(parse_version("2.14.6"), Some((2, 14, 6)));
        assert_eq!(parse_version("2.15.0-RC.1\n"), Some((2, 15, 0)));
        assert_eq!(parse_version("2.14"), None);
        assert_eq!(parse_version("next"), None);
    }

    #[test]
    fn versions_are_told_without_names() {
        let (postgres, nats_server) = versions().unwrap();

        for version in [postgres, nats_server] {
            assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{version:?}");
        }
    }

    #[test]
    fn the_newest_nats_server_of_a_folder_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["nats-server-2.9.10", "nats-server-2.14.6", "nats-server", "nats-server.sha256"] {
            fs::write(dir.path().join(name), "").unwrap();
        }

        let found = nats_servers_in(dir.path());

        let names: Vec<&str> = found.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["nats-server-2.14.6", "nats-server-2.9.10", "nats-server"]);
    }
}

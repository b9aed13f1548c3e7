//! The directory of a private PostgreSQL before it runs: whose it is, its password, and the cluster itself.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rand::RngExt;

use crate::error::EmbeddedError;
use crate::process::{self, Launch, Process};
use crate::programs::PostgresPrograms;
use crate::ready::START_LIMIT;

/// The superuser of the cluster.
pub(crate) const SUPERUSER: &str = "clickwire";

/// The user and group to run as: nobody else than us, unless we are root.
pub(crate) fn other_user() -> Result<Option<(&'static str, &'static str)>, EmbeddedError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let file = Path::new("/etc/passwd");
    let users = fs::read_to_string(file).map_err(EmbeddedError::file(file))?;
    let is_there = users.lines().any(|line| line.starts_with("postgres:"));
    Ok(Some(if is_there { ("postgres", "postgres") } else { ("nobody", "nogroup") }))
}

/// Gives the directory to the user PostgreSQL runs as, and sees to it that this user can reach it.
pub(crate) fn hand_over(dir: &Path, user: Option<(&'static str, &'static str)>) -> Result<(), EmbeddedError> {
    let Some((user, group)) = user else { return Ok(()) };
    let run = |program: &str, args: &[&std::ffi::OsStr]| {
        let status = std::process::Command::new(program).args(args).current_dir("/").status();
        status.map_err(|source| EmbeddedError::Start { program: program.to_owned(), source })
    };
    let owner = format!("{user}:{group}");
    run("chown", &[owner.as_ref(), dir.as_ref()])?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o750)).map_err(EmbeddedError::file(dir))?;
    let reaches = ["--reuid", user, "--regid", group, "--clear-groups", "--", "test", "-w"];
    let mut args: Vec<&std::ffi::OsStr> = reaches.iter().map(std::ffi::OsStr::new).collect();
    args.push(dir.as_ref());
    if run("setpriv", &args)?.success() {
        Ok(())
    } else {
        Err(EmbeddedError::Unreachable { dir: dir.to_owned(), user })
    }
}

/// The superuser's password: from the directory, where only its owner can read it, or a new one.
pub(crate) fn password(dir: &Path) -> Result<String, EmbeddedError> {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let path = dir.join("password");
    if let Ok(text) = fs::read_to_string(&path) {
        return Ok(text.trim().to_owned());
    }
    let mut rng = rand::rng();
    let password: String = (0..32).map(|_| char::from(LETTERS[rng.random_range(0..LETTERS.len())])).collect();
    let write = || -> io::Result<()> {
        let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        io::Write::write_all(&mut file, password.as_bytes())?;
        // readable for the user that initdb runs as
        let owner = fs::metadata(dir)?;
        std::os::unix::fs::chown(&path, Some(owner.uid()), Some(owner.gid()))
    };
    write().map_err(EmbeddedError::file(&path))?;
    Ok(password)
}

/// Makes the cluster, under another name first: half a cluster never looks like one.
pub(crate) async fn initialise(
    dir: &Path,
    programs: &PostgresPrograms,
    user: Option<(&'static str, &'static str)>,
    password: Option<&str>,
) -> Result<(), EmbeddedError> {
    let unfinished = dir.join("data.new");
    match fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(EmbeddedError::File { path: unfinished, source: error });
        }
        _ => {}
    }
    let log = dir.join("initdb.log");
    let mut launch = Launch::new(programs.program("initdb"), dir, &log)
        .user(user)
        .arg("--pgdata")
        .arg(&unfinished)
        .args(&["--username", SUPERUSER, "--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions"]);
    launch = match password {
        Some(_) => launch.arg("--auth=scram-sha-256").arg("--pwfile").arg(dir.join("password")),
        None => launch.args(&["--auth=trust", "--no-sync"]),
    };
    let status = Process::start(&launch)?.ended_within(START_LIMIT).await;
    if !status.success() {
        return Err(EmbeddedError::Ended { program: "initdb", status, log: process::tail(&log) });
    }
    let data = dir.join("data");
    fs::rename(&unfinished, &data).map_err(EmbeddedError::file(&data))
}

//! Directories that go away with the test process, however it ends.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

/// Waits until the test process has closed the pipe, that is, has ended; then removes its directory. Servers
/// that were killed at the same moment may still be writing for a while.
const SWEEP: &str = r#"
trap '' INT TERM HUP
read -r _
n=0
until rm -rf "$1" 2>/dev/null; do
    n=$((n + 1)); [ "$n" -lt 100 ] || exit 1
    sleep 0.1
done
"#;

/// The directory of this test process, and who waits for our end at the other side of a pipe.
struct Root {
    dir: PathBuf,
    _sweeper: Child,
}

/// A directory for one test, removed when dropped.
#[derive(Debug)]
pub struct ScratchDir(TempDir);

impl ScratchDir {
    /// A new, empty directory.
    ///
    /// # Panics
    /// When the system's directory for temporary files cannot be written to.
    pub fn new(name: &str) -> Self {
        let dir = tempfile::Builder::new().prefix(&format!("{name}-")).tempdir_in(&root().dir);
        let dir = dir.expect("the test process can write to its directory");
        open_for_all(dir.path());
        Self(dir)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

fn root() -> &'static Root {
    static ROOT: OnceLock<Root> = OnceLock::new();
    ROOT.get_or_init(|| {
        let dir = tempfile::Builder::new()
            .prefix("clickwire-test-")
            .tempdir()
            .expect("a temporary directory")
            .keep();
        open_for_all(&dir);
        let sweeper = Command::new("sh")
            .args(["-c", SWEEP, "sweep"])
            .arg(&dir)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C ends the tests, not what cleans up behind them
            .process_group(0)
            .spawn()
            .expect("a shell");
        Root { dir, _sweeper: sweeper }
    })
}

/// PostgreSQL runs as another user when the tests run as root.
fn open_for_all(dir: &Path) {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o711)).expect("a directory of ours");
}

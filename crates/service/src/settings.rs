//! Settings in layers: compiled-in defaults, a file, then variables `CLICKWIRE__SECTION__KEY`.
//!
//! A process reads the sections that its defaults name. Sections of other services are skipped, so that one
//! file serves all of them; anything else is a mistake and refused, with the key and where it was written.

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};

use config::builder::DefaultState;
use config::{Config, ConfigBuilder, ConfigError, File, FileFormat, Map, Source, Value, ValueKind};
use serde::de::DeserializeOwned;

/// The sections that some process of Clickwire reads.
const KNOWN_SECTIONS: [&str; 11] = [
    "redirect",
    "enrich",
    "deliver",
    "record",
    "api",
    "links",
    "nats",
    "database",
    "sealing",
    "minting",
    "telemetry",
];

/// What stands before the section in the name of a variable.
const VARIABLE_PREFIX: &str = "CLICKWIRE__";

/// Names the settings file when no argument does.
const FILE_VARIABLE: &str = "CLICKWIRE_CONFIG";

/// Read from the working directory when nothing names a file.
const FILE_DEFAULT: &str = "clickwire.toml";

/// Why settings were refused.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file is not there, not readable, or not TOML.
    #[error("failed to read settings from {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<ConfigError>,
    },
    /// A section that no process reads.
    #[error("unknown section `{section}` in {origin}; sections are: {}", KNOWN_SECTIONS.join(", "))]
    UnknownSection {
        /// Its name.
        section: String,
        /// Where it was written.
        origin: String,
    },
    /// A variable that names no section and key.
    #[error("{variable} must be named CLICKWIRE__SECTION__KEY")]
    Variable {
        /// Its name.
        variable: String,
    },
    /// A value that breaks its rule, or a key that does not exist.
    #[error("{key}: {rule} (from {origin})")]
    Invalid {
        /// Section and key, `redirect.addr`.
        key: String,
        /// What it breaks.
        rule: String,
        /// Where it was written.
        origin: String,
    },
}

impl SettingsError {
    /// For checks between settings, which a service makes after loading.
    pub fn contradiction(key: &str, rule: impl Into<String>) -> Self {
        Self::Invalid {
            key: key.to_owned(),
            rule: rule.into(),
            origin: "settings that contradict".to_owned(),
        }
    }
}

/// A key, whether its rule holds, and the rule.
pub type Rule<'a> = (&'a str, bool, &'a str);

/// Refuses settings of which a rule does not hold; of several the first is told.
///
/// # Errors
/// [`SettingsError`] names the key and the rule.
pub fn check(rules: &[Rule<'_>]) -> Result<(), SettingsError> {
    match rules.iter().find(|(_, holds, _)| !holds) {
        Some((key, _, rule)) => Err(SettingsError::contradiction(key, *rule)),
        None => Ok(()),
    }
}

/// Loads the settings of this process: `defaults` < `file` (or what stands for it) < variables.
///
/// `defaults` are TOML texts, merged in order; their sections are the sections that are read. A section's
/// struct carries `#[serde(deny_unknown_fields)]`, so that a misspelled key is an error.
///
/// # Errors
/// [`SettingsError`] names the key, the rule and the source.
pub fn load<S: DeserializeOwned>(defaults: &[&str], file: Option<&Path>) -> Result<S, SettingsError> {
    let file = match file {
        Some(file) => Some(file.to_path_buf()),
        None => file_of_environment(),
    };
    // a name or value that is not UTF-8 cannot be one of ours
    let variables = env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    load_from(defaults, file.as_deref(), variables)
}

/// The settings file that is used when no argument names one.
pub fn file_of_environment() -> Option<PathBuf> {
    let named = env::var_os(FILE_VARIABLE).filter(|name| !name.is_empty()).map(PathBuf::from);
    named.or_else(|| Some(PathBuf::from(FILE_DEFAULT)).filter(|path| path.is_file()))
}

/// Like [`load`] with the file and the variables given; a later variable wins over an earlier one.
///
/// # Errors
/// [`SettingsError`] names the key, the rule and the source.
pub fn load_from<S: DeserializeOwned>(
    defaults: &[&str],
    file: Option<&Path>,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<S, SettingsError> {
    let mut builder = Config::builder();
    for text in defaults {
        builder = builder.add_source(File::from_str(text, FileFormat::Toml));
    }
    let defaults = tree(&builder, "the defaults")?;
    let read: BTreeSet<String> = defaults.keys().cloned().collect();

    let mut lists = defaults;
    if let Some(path) = file {
        builder = builder.add_source(File::from(path).format(FileFormat::Toml));
        lists = builder
            .build_cloned()
            .and_then(|config| config.collect())
            .map_err(|source| SettingsError::File { path: path.to_path_buf(), source: Box::new(source) })?;
    }
    for (variable, text) in env {
        if let Some(rest) = variable.strip_prefix(VARIABLE_PREFIX) {
            builder = set_variable(builder, &lists, &variable, rest, text)?;
        }
    }

    let mut merged = tree(&builder, "the settings")?;
    for (section, value) in &merged {
        if !read.contains(section) && !KNOWN_SECTIONS.contains(&section.as_str()) {
            let origin = origin(value, file);
            return Err(SettingsError::UnknownSection { section: section.clone(), origin });
        }
    }
    merged.retain(|section, _| read.contains(section));
    let root = Value::new(None, ValueKind::Table(merged.clone()));
    S::deserialize(root).map_err(|error| invalid(error, &merged, file))
}

fn tree(builder: &ConfigBuilder<DefaultState>, name: &str) -> Result<Map<String, Value>, SettingsError> {
    let config = builder.build_cloned().and_then(|config| config.collect());
    config.map_err(|error| SettingsError::Invalid {
        key: name.to_owned(),
        rule: error.to_string(),
        origin: name.to_owned(),
    })
}

/// Sets one `CLICKWIRE__SECTION__KEY`; a key that is a list by default is split at commas.
fn set_variable(
    builder: ConfigBuilder<DefaultState>,
    lists: &Map<String, Value>,
    variable: &str,
    rest: &str,
    text: String,
) -> Result<ConfigBuilder<DefaultState>, SettingsError> {
    let path: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
    let well_named = path.len() >= 2
        && path
            .iter()
            .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
    if !well_named {
        return Err(SettingsError::Variable { variable: variable.to_owned() });
    }
    let origin = variable.to_owned();
    let is_list = matches!(find(lists, &path).map(|value| &value.kind), Some(ValueKind::Array(_)));
    let kind = if is_list {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        ValueKind::Array(items.map(|item| Value::new(Some(&origin), item)).collect())
    } else {
        ValueKind::String(text)
    };
    builder
        .set_override(path.join("."), Value::new(Some(&origin), kind))
        .map_err(|_| SettingsError::Variable { variable: variable.to_owned() })
}

fn find<'a>(tree: &'a Map<String, Value>, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    let value = tree.get(first)?;
    match (&value.kind, rest) {
        (_, []) => Some(value),
        (ValueKind::Table(table), rest) => find(table, rest),
        _ => None,
    }
}

/// Where what stands below was written. The loader calls a file by a relative path; we say it as it was given.
fn origin(value: &Value, file: Option<&Path>) -> String {
    let mut named = BTreeSet::new();
    collect_origins(value, &mut named);
    let file = file.map_or_else(|| "the settings file".to_owned(), |path| path.display().to_string());
    let names =
        named.into_iter().map(|name| if name.starts_with(VARIABLE_PREFIX) { name } else { file.clone() });
    let names: Vec<String> = names.collect();
    if names.is_empty() { "the defaults".to_owned() } else { names.join(", ") }
}

/// Defaults have no origin.
fn collect_origins(value: &Value, named: &mut BTreeSet<String>) {
    match &value.kind {
        ValueKind::Table(table) => table.values().for_each(|value| collect_origins(value, named)),
        ValueKind::Array(items) if !items.is_empty() => {
            items.iter().for_each(|item| collect_origins(item, named))
        }
        _ => named.extend(value.origin().map(str::to_owned)),
    }
}

fn invalid(error: ConfigError, merged: &Map<String, Value>, file: Option<&Path>) -> SettingsError {
    let (key, rule) = match error {
        ConfigError::Type { key, unexpected, expected, .. } => {
            (key.unwrap_or_default(), format!("{unexpected} must be {expected}"))
        }
        ConfigError::At { error, key, .. } => (key.unwrap_or_default(), error.to_string()),
        ConfigError::NotFound(key) => (key, "must be set".to_owned()),
        other => (String::new(), other.to_string()),
    };
    let path: Vec<String> = key.split(['.', '[']).map(str::to_owned).collect();
    let written = (1..=path.len()).rev().find_map(|len| find(merged, path.get(..len)?));
    let origin = written.map_or_else(|| "the defaults".to_owned(), |value| origin(value, file));
    SettingsError::Invalid { key, rule, origin }
}

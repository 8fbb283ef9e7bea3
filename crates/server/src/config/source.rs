//! Gathering values: file, overlay, environment, flags; later ones win.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use libra_api::fields::nearest;
use serde_json::Value;

use super::ConfigError;
use super::keys::{IN_CLUSTER_CONF, KEYS, SPARK_SUBMIT_CONF, TREES, WITHOUT_EFFECT, env_name};

/// Where the configuration comes from, besides the environment.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// A YAML file.
    pub file: Option<PathBuf>,
    /// `--listen`.
    pub listen: Option<String>,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
}

impl Source {
    /// The text of the file and of its overlay, where they can be read: to see whether they have changed.
    pub(crate) fn texts(&self) -> Vec<Option<Vec<u8>>> {
        let environment = std::env::var("ENVIRONMENT").ok().filter(|name| !name.is_empty());
        let overlay = self.file.as_deref().zip(environment.as_deref()).and_then(|(f, name)| overlay(f, name));
        self.file.iter().chain(&overlay).map(|file| std::fs::read(file).ok()).collect()
    }
}

/// Values by canonical key, and what to tell the operator.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) values: BTreeMap<String, String>,
    /// Lists and maps, as they were written, by key.
    pub(super) trees: BTreeMap<&'static str, Value>,
    pub(super) warnings: Vec<String>,
}

/// Variables that begin with LIBRA_ and are no configuration of the server.
const OTHER_VARIABLES: [&str; 5] =
    ["LIBRA_URL", "LIBRA_TOKEN", "LIBRA_CONFIG", "LIBRA_FAILPOINT", "LIBRA_ATTEMPT_TOKEN"];

pub(super) fn gather(source: Source, env: &BTreeMap<String, String>) -> Result<Gathered, ConfigError> {
    let mut gathered = Gathered::default();
    if let Some(file) = &source.file {
        gathered.layer(&read_yaml(file)?, &file.display().to_string())?;
        if let Some(name) = env.get("ENVIRONMENT").filter(|n| !n.is_empty())
            && let Some(overlay) = overlay(file, name).filter(|o| o.is_file())
        {
            gathered.layer(&read_yaml(&overlay)?, &overlay.display().to_string())?;
        }
    }
    gathered.environment(env)?;
    if let Some(listen) = source.listen {
        gathered.values.insert("libra.listen".into(), listen);
    }
    if let Some(dir) = source.data_dir {
        gathered.values.insert("libra.data-dir".into(), dir.display().to_string());
    }
    Ok(gathered)
}

/// `config.yaml` → `config.<name>.yaml`.
fn overlay(file: &Path, name: &str) -> Option<PathBuf> {
    let stem = file.file_stem()?.to_str()?;
    let ending = file.extension()?.to_str()?;
    Some(file.with_file_name(format!("{stem}.{name}.{ending}")))
}

fn read_yaml(file: &Path) -> Result<Value, ConfigError> {
    let text = std::fs::read_to_string(file)
        .map_err(|e| ConfigError::new(format!("the configuration {} can't be read: {e}", file.display())))?;
    if text.lines().all(|l| l.trim().is_empty() || l.trim_start().starts_with('#')) {
        return Ok(Value::Null);
    }
    serde_saphyr::from_str(&text)
        .map_err(|e| ConfigError::new(format!("the configuration {} is not valid YAML: {e}", file.display())))
}

/// The tree as dotted keys. Lists and the keys of [`TREES`] stay whole.
fn flatten(prefix: &str, value: &Value, out: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(map) if !TREES.contains(&prefix) => {
            for (key, value) in map {
                let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&name, value, out);
            }
        }
        Value::Null => {}
        other => {
            out.insert(prefix.to_owned(), other.clone());
        }
    }
}

fn scalar(name: &str, value: &Value) -> Result<String, ConfigError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(n) => Ok(n.to_string()),
        Value::Bool(b) => Ok(b.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err(ConfigError::new(format!("{name} must be a single value")))
        }
    }
}

/// The canonical name and value for a key as it was written.
fn canonical(name: &str, value: String) -> Result<Option<(String, String)>, ConfigError> {
    if name.starts_with(IN_CLUSTER_CONF) || name.starts_with(SPARK_SUBMIT_CONF) {
        return Ok(Some((name.to_owned(), value)));
    }
    if WITHOUT_EFFECT.contains(&name) {
        return Ok(None);
    }
    for key in KEYS {
        if key.name == name || key.aliases.contains(&name) {
            // The one alias that names its unit.
            let value = if name.ends_with("max-wait-time-minutes") { format!("{value}m") } else { value };
            return Ok(Some((key.name.to_owned(), value)));
        }
    }
    let known: Vec<&str> = KEYS.iter().flat_map(|k| k.aliases.iter().copied().chain([k.name])).collect();
    let error = ConfigError::new(format!("{name} is not a known configuration key"));
    Err(match nearest(name, &known) {
        Some(near) => error.hinting(format!("did you mean {near}?")),
        None => error.hinting("config/libra.example.yaml lists every key"),
    })
}

/// True when the key's value may hold a password: it is not shown.
fn secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "secret", "url", "token", "keys"].iter().any(|word| name.ends_with(word))
}

impl Gathered {
    /// Puts one file on top. Two spellings of one key within it must agree.
    fn layer(&mut self, tree: &Value, file: &str) -> Result<(), ConfigError> {
        let mut flat = BTreeMap::new();
        flatten("", tree, &mut flat);
        for key in TREES {
            self.trees.extend(flat.remove(key).map(|tree| (key, tree)));
        }
        let mut layer: BTreeMap<String, (String, String)> = BTreeMap::new();
        for (name, value) in flat {
            let value = scalar(&name, &value)?;
            let Some((key, value)) = canonical(&name, value)? else {
                self.warnings.push(format!("{name} has no effect in this version"));
                continue;
            };
            if let Some((other, before)) = layer.insert(key, (name.clone(), value.clone()))
                && before != value
            {
                let said = if secret(&other) || secret(&name) {
                    format!("{file} gives {other} and {name}, and they differ")
                } else {
                    format!("{file} gives {other} as {before} and {name} as {value}")
                };
                return Err(
                    ConfigError::new(said).hinting("they are two spellings of the same key: keep one")
                );
            }
        }
        self.values.extend(layer.into_iter().map(|(key, (_, value))| (key, value)));
        Ok(())
    }

    fn environment(&mut self, env: &BTreeMap<String, String>) -> Result<(), ConfigError> {
        let mut used: Vec<String> = OTHER_VARIABLES.iter().map(|v| (*v).to_owned()).collect();
        for key in KEYS {
            let names = std::iter::once(env_name(key.name))
                .chain(key.aliases.iter().map(|a| env_name(a)))
                .chain(key.env.iter().map(|e| (*e).to_owned()));
            let mut found: Option<(String, String)> = None;
            for name in names {
                let Some(value) = env.get(&name).filter(|v| !v.is_empty()) else { continue };
                used.push(name.clone());
                // Two of the names say their unit.
                let value = match name.as_str() {
                    "METRICS_RETENTION_DAYS" => with_unit(&name, value, "days", 'd')?,
                    variable if variable.ends_with("MAX_WAIT_TIME_MINUTES") => {
                        with_unit(&name, value, "minutes", 'm')?
                    }
                    _ => value.clone(),
                };
                match &found {
                    Some((other, before)) if *before != value => {
                        let said = if secret(key.name) {
                            format!("{other} and {name} differ")
                        } else {
                            format!("{other} is {before} and {name} is {value}")
                        };
                        return Err(ConfigError::new(said)
                            .hinting("they are two spellings of the same key: keep one"));
                    }
                    Some(_) => {}
                    None => found = Some((name, value)),
                }
            }
            let Some((name, value)) = found else { continue };
            if let Some(tree) = TREES.into_iter().find(|tree| *tree == key.name) {
                let value = serde_saphyr::from_str(&value)
                    .map_err(|e| ConfigError::new(format!("{name} is not valid YAML: {e}")))?;
                self.trees.insert(tree, value);
            } else {
                self.values.insert(key.name.to_owned(), value);
            }
        }
        let strange: Vec<&String> =
            env.keys().filter(|k| k.starts_with("LIBRA_") && !used.contains(k)).collect();
        for name in strange {
            if !env[name].is_empty() {
                self.warnings.push(format!("the environment variable {name} is not known and has no effect"));
            }
        }
        Ok(())
    }
}

/// The value of a variable whose name says its unit.
fn with_unit(name: &str, value: &str, units: &str, unit: char) -> Result<String, ConfigError> {
    let number = value.trim();
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ConfigError::new(format!("{name} must be a whole number of {units}, not {value}")));
    }
    Ok(format!("{number}{unit}"))
}

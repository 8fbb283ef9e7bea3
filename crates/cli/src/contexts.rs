//! Named places of Libra on this computer, so that nobody types an address twice (contract D3).
//!
//! They are kept in `contexts.json` below `$XDG_CONFIG_HOME/libra` (`~/.config/libra`). A key is never in that file:
//! a context names the file that holds it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::args::{CONTEXT_VARIABLE, ConnectArgs, DEFAULT_URL, TOKEN_VARIABLE, URL_VARIABLE};
use crate::failure::{Exit, Failure};

/// The longest name, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// One Libra.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Context {
    /// Where it answers.
    pub(crate) url: String,
    /// The file that holds the key for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token_file: Option<PathBuf>,
}

/// All of them, and which one is used when nothing else is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Contexts {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Context>,
}

/// The Libra that a command talks to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) url: String,
    pub(crate) token: Option<String>,
}

/// Where the contexts are kept.
pub(crate) fn file() -> Result<PathBuf, Failure> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_CONFIG_HOME")
        .or_else(|| Some(set("HOME")?.join(".config")))
        .map(|directory| directory.join("libra").join("contexts.json"))
        .ok_or_else(|| Failure::usage("contexts have no place: neither HOME nor XDG_CONFIG_HOME is set"))
}

impl Contexts {
    /// What `file` holds; nothing when there is no such file.
    pub(crate) fn load(file: &Path) -> Result<Self, Failure> {
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(Self::default());
            }
            Err(e) => return Err(unusable(file, "can't be read", &e)),
        };
        serde_json::from_str(&text).map_err(|e| {
            unusable(file, "is damaged", &e).hint("mend it, or delete it and run `libra context set` again")
        })
    }

    /// Writes `file` whole or not at all; others on this computer can't read it.
    pub(crate) fn save(&self, file: &Path) -> Result<(), Failure> {
        let failed = |e: std::io::Error| unusable(file, "can't be written", &e);
        let text = serde_json::to_string_pretty(self).map_err(|e| failed(e.into()))?;
        if let Some(directory) = file.parent() {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        let draft = file.with_extension(format!("{}.new", std::process::id()));
        let written = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)
            .and_then(|mut open| open.write_all(format!("{text}\n").as_bytes()))
            .and_then(|()| fs::rename(&draft, file));
        written.map_err(|e| {
            // The draft is of no use to anybody.
            let _ = fs::remove_file(&draft);
            failed(e)
        })
    }

    /// One of them.
    pub(crate) fn get(&self, name: &str) -> Result<&Context, Failure> {
        self.contexts.get(name).ok_or_else(|| {
            let hint = match self.contexts.keys().map(String::as_str).collect::<Vec<_>>() {
                none if none.is_empty() => format!("`libra context set {} --url URL` adds one", shown(name)),
                known => format!("there are {}", known.join(", ")),
            };
            Failure::usage(format!("there is no context {}", shown(name))).hint(hint)
        })
    }
}

fn shown(name: &str) -> String {
    crate::output::one_line(name)
}

fn unusable(file: &Path, what: &str, cause: &dyn std::error::Error) -> Failure {
    Failure::new(Exit::Failed, format!("{} {what}: {cause}", file.display()))
}

/// A name that needs no quoting in a shell.
pub(crate) fn check_name(name: &str) -> Result<(), Failure> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.starts_with('-') || !name.chars().all(fine) {
        return Err(Failure::usage(format!(
            "a context's name has up to {MAX_NAME_BYTES} letters, digits, `.`, `-` or `_`, and begins with no `-`"
        )));
    }
    Ok(())
}

/// An address that a client can use.
pub(crate) fn check_url(url: &str) -> Result<(), Failure> {
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    if host.is_none_or(|host| host.is_empty() || host.starts_with('/')) {
        return Err(Failure::usage(format!("{} is no address", shown(url)))
            .hint("it looks like http://HOST:PORT or https://HOST"));
    }
    Ok(())
}

/// The Libra that a command is for. The command line comes before the environment, that before the context in use.
pub(crate) fn target(args: &ConnectArgs) -> Result<Target, Failure> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    // The file is read only where it counts: a damaged one does not stop who says where Libra is.
    choose(args, variable, || Contexts::load(&file()?))
}

fn choose(
    args: &ConnectArgs,
    variable: impl Fn(&str) -> Option<String>,
    contexts: impl FnOnce() -> Result<Contexts, Failure>,
) -> Result<Target, Failure> {
    let own_token = variable(TOKEN_VARIABLE);
    if let Some(url) = &args.url {
        return Ok(Target { url: url.clone(), token: own_token });
    }
    if args.context.is_none()
        && let Some(url) = variable(URL_VARIABLE)
    {
        return Ok(Target { url, token: own_token });
    }
    let named = args.context.clone().or_else(|| variable(CONTEXT_VARIABLE));
    // Where there is no home there are no contexts; nobody has asked for one.
    let contexts = match contexts() {
        Err(e) if named.is_some() || file().is_ok() => return Err(e),
        found => found.unwrap_or_default(),
    };
    let Some(name) = named.or_else(|| contexts.current.clone()) else {
        return Ok(Target { url: DEFAULT_URL.to_owned(), token: own_token });
    };
    let context = contexts.get(&name)?;
    let token = match &context.token_file {
        // A key for one Libra is not sent to another one.
        Some(file) => Some(read_token(&name, file)?),
        None => own_token,
    };
    Ok(Target { url: context.url.clone(), token })
}

fn read_token(name: &str, file: &Path) -> Result<String, Failure> {
    let hint = format!("`libra context set {name} --token-file FILE` names another one");
    let text = fs::read_to_string(file)
        .map_err(|e| unusable(file, &format!("holds the key of context {name} and can't be read"), &e))
        .map_err(|e| e.hint(hint.clone()))?;
    match text.trim() {
        "" => {
            Err(Failure::usage(format!("{} is empty: context {name} has no key", file.display())).hint(hint))
        }
        token => Ok(token.to_owned()),
    }
}

#[cfg(test)]
#[path = "contexts_tests.rs"]
mod tests;

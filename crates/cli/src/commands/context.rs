//! `libra context`: nothing is asked of a Libra here.

use serde_json::{Value, json};

use crate::args::{ContextCommand, ContextSetArgs, Format};
use crate::contexts::{Context, Contexts, check_name, check_url, file};
use crate::failure::{Exit, Failure};
use crate::output;

/// Runs one of its commands.
pub(crate) fn run(command: &ContextCommand) -> Result<Exit, Failure> {
    let file = file()?;
    let mut contexts = Contexts::load(&file)?;
    match command {
        ContextCommand::List(args) => {
            match args.output.output {
                Format::Json => output::print_json(&listed(&contexts))?,
                Format::Table => output::print(&table(&contexts))?,
            }
            if contexts.contexts.is_empty() {
                output::say("no contexts yet\nhint: `libra context set NAME --url URL` adds one");
            }
            return Ok(Exit::Done);
        }
        ContextCommand::Set(args) => set(&mut contexts, args)?,
        ContextCommand::Use(args) => {
            contexts.get(&args.name)?;
            contexts.current = Some(args.name.clone());
            output::say(&format!("{} is used from now on", args.name));
        }
        ContextCommand::Remove(args) => {
            contexts.get(&args.name)?;
            contexts.contexts.remove(&args.name);
            contexts.current.take_if(|current| *current == args.name);
        }
    }
    contexts.save(&file)?;
    Ok(Exit::Done)
}

fn set(contexts: &mut Contexts, args: &ContextSetArgs) -> Result<(), Failure> {
    check_name(&args.name)?;
    let known = contexts.contexts.get(&args.name);
    let url = args.url.clone().or_else(|| Some(known?.url.clone())).ok_or_else(|| {
        Failure::usage(format!("a new context needs an address: libra context set {} --url URL", args.name))
    })?;
    check_url(&url)?;
    let token_file = match &args.token_file {
        // The command may be run from anywhere.
        Some(file) => Some(std::path::absolute(file).map_err(|e| {
            Failure::usage(format!(
                "--token-file {} is no path: {e}",
                output::one_line(&file.to_string_lossy())
            ))
        })?),
        None if args.no_token_file => None,
        None => known.and_then(|known| known.token_file.clone()),
    };
    if let Some(missing) = token_file.as_ref().filter(|file| !file.is_file()) {
        output::say(&format!(
            "warning: there is no file {} yet",
            output::one_line(&missing.to_string_lossy())
        ));
    }
    contexts.contexts.insert(args.name.clone(), Context { url, token_file });
    contexts.current.get_or_insert_with(|| args.name.clone());
    Ok(())
}

fn listed(contexts: &Contexts) -> Value {
    let one = |(name, context): (&String, &Context)| {
        let mut one = json!({
            "name": name,
            "url": context.url,
            "current": contexts.current.as_ref() == Some(name),
        });
        if let Some(file) = &context.token_file {
            one["tokenFile"] = json!(file);
        }
        one
    };
    json!({ "contexts": contexts.contexts.iter().map(one).collect::<Vec<_>>() })
}

fn table(contexts: &Contexts) -> String {
    let wide = |cells: &mut dyn Iterator<Item = usize>| cells.max().unwrap_or_default();
    let names = wide(&mut contexts.contexts.keys().map(String::len));
    let urls = wide(&mut contexts.contexts.values().map(|c| c.url.chars().count()));
    let line = |(name, context): (&String, &Context)| {
        let mark = if contexts.current.as_ref() == Some(name) { '*' } else { ' ' };
        let key = context.token_file.as_ref().map(|f| format!("key in {}", f.display()));
        let line = format!("{mark} {name:names$}  {:urls$}  {}", context.url, key.unwrap_or_default());
        format!("{}\n", output::one_line(line.trim_end()))
    };
    contexts.contexts.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_for_people_and_for_programs() {
        let mut contexts = Contexts::default();
        let set_one = |contexts: &mut Contexts, name: &str, url: Option<&str>, key: Option<&str>| {
            let args = ContextSetArgs {
                name: name.into(),
                url: url.map(Into::into),
                token_file: key.map(Into::into),
                no_token_file: false,
            };
            set(contexts, &args)
        };
        set_one(&mut contexts, "prod", Some("https://libra.example.com"), Some("/home/me/key")).unwrap();
        set_one(&mut contexts, "dev", Some("http://127.0.0.1:8080"), None).unwrap();
        set_one(&mut contexts, "prod", Some("https://new.example.com"), None).unwrap();
        assert!(set_one(&mut contexts, "new", None, None).is_err());
        assert_eq!(
            table(&contexts),
            "  dev   http://127.0.0.1:8080\n* prod  https://new.example.com  key in /home/me/key\n"
        );
        assert_eq!(
            listed(&contexts),
            json!({"contexts": [
                {"name": "dev", "url": "http://127.0.0.1:8080", "current": false},
                {"name": "prod", "url": "https://new.example.com", "current": true, "tokenFile": "/home/me/key"},
            ]})
        );
    }
}

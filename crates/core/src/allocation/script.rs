//! The lines of a script that are meant for `sbatch`.

use serde_json::{Map, Value};

use super::syntax::Form;
use super::{Allocation, AskedFor, OPTIONS};

/// What marks a line of a script that is meant for `sbatch`.
const DIRECTIVE: &str = "#SBATCH";

/// Reads the lines of a script that are meant for `sbatch`, and takes the mark away from them: only one of the doors to
/// a scheduler would read them. Answers what they ask for, a name for the job, and the script without them.
///
/// # Errors
/// The first option that is unknown here, or that has no such value, in words.
pub fn of_script(script: &str) -> Result<(Allocation, Option<String>, String), String> {
    let mut read = Read::default();
    let mut rest = String::with_capacity(script.len());
    let mut in_head = true;
    for line in script.split_inclusive('\n') {
        // sbatch looks no further than the first command.
        in_head = in_head && (line.trim().is_empty() || line.starts_with('#'));
        match line.strip_prefix(DIRECTIVE) {
            Some(options) if in_head && options.starts_with(char::is_whitespace) => {
                read.line(options)?;
                rest.push('#');
            }
            Some(_) | None => {}
        }
        rest.push_str(line);
    }
    // Each value is of its field's kind by now.
    let asked = serde_json::from_value(Value::Object(read.asked)).map_err(|e| e.to_string())?;
    Ok((asked, read.job_name, rest))
}

/// What the lines have asked for so far.
#[derive(Default)]
struct Read {
    asked: Map<String, Value>,
    job_name: Option<String>,
}

impl Read {
    fn line(&mut self, line: &str) -> Result<(), String> {
        let mut words = words(line)?.into_iter();
        while let Some(word) = words.next() {
            if word.starts_with('#') {
                return Ok(());
            }
            let (option, beside) = split(&word);
            // This one has a value only in the same word.
            if option == "--exclusive" && beside.is_none() {
                self.set(known("exclusive"), Value::from("true"));
                continue;
            }
            let mut value = || {
                let found = beside.clone().or_else(|| words.next());
                found.ok_or_else(|| format!("`{option}` in the script has no value"))
            };
            match option.as_str() {
                "--job-name" | "-J" => self.job_name = Some(value()?),
                "--requeue" => self.set(known("requeue"), Value::from(true)),
                "--no-requeue" => self.set(known("requeue"), Value::from(false)),
                "--nodes" | "-N" => self.nodes(&option, &value()?)?,
                "--export" => environment(&value()?)?,
                _ => {
                    let Some(of) = OPTIONS.iter().find(|of| of.words.contains(&option.as_str())) else {
                        return Err(format!(
                            "the script asks for `{option}`, which Libra does not pass on; take that line away, or submit it with sbatch"
                        ));
                    };
                    let text = value()?;
                    self.set(Some(of), of_text(&option, of, &text)?);
                }
            }
        }
        Ok(())
    }

    /// `-N 2`, `-N 2-4`.
    fn nodes(&mut self, option: &str, text: &str) -> Result<(), String> {
        let (least, most) = text.split_once('-').map_or((text, None), |(least, most)| (least, Some(most)));
        let mut set = |name: &str, number: &str| -> Result<(), String> {
            let Some(of) = known(name) else { return Ok(()) };
            let value = of_text(option, of, number).map_err(|_| cannot(option, text, ""))?;
            self.set(Some(of), value);
            Ok(())
        };
        set("nodes", least)?;
        if let Some(most) = most {
            return set("maxNodes", most);
        }
        // Of two lines the later counts, whole.
        self.asked.remove("maxNodes");
        Ok(())
    }

    fn set(&mut self, option: Option<&AskedFor>, value: Value) {
        if let Some(option) = option {
            self.asked.insert(option.name.to_owned(), value);
        }
    }
}

/// What has this name on the wire.
fn known(name: &str) -> Option<&'static AskedFor> {
    OPTIONS.iter().find(|option| option.name == name)
}

fn cannot(option: &str, text: &str, why: &str) -> String {
    let shown: String = text.chars().take(80).collect();
    let why = if why.is_empty() { String::new() } else { format!(": it {why}") };
    format!("`{option}` in the script can't be `{shown}`{why}")
}

/// The value that a text of the script has.
fn of_text(option: &str, of: &AskedFor, text: &str) -> Result<Value, String> {
    match of.syntax.form() {
        Form::Text(most) | Form::Spelled(most) if text.len() > most => {
            return Err(format!("the value of `{option}` in the script is longer than {most} bytes"));
        }
        Form::Number(_) | Form::Flag => {}
        Form::Text(_) | Form::Spelled(_) => {
            if let Some(why) = of.syntax.flaw(text) {
                return Err(cannot(option, text, &why));
            }
        }
    }
    of.syntax.of_script(text).ok_or_else(|| cannot(option, text, ""))
}

/// A job has the environment that it brings, and nothing of who submits it: both words say what is so already, and any
/// other would change it.
fn environment(text: &str) -> Result<(), String> {
    if ["ALL", "NONE"].contains(&text) {
        return Ok(());
    }
    Err(cannot(
        "--export",
        text,
        "can only be ALL or NONE, which change nothing here; name variables in `env`",
    ))
}

/// An option and the value that is written in the same word.
fn split(word: &str) -> (String, Option<String>) {
    if word.starts_with("--") {
        return match word.split_once('=') {
            Some((option, value)) => (option.to_owned(), Some(value.to_owned())),
            None => (word.to_owned(), None),
        };
    }
    match word.char_indices().nth(2) {
        Some((at, _)) if word.starts_with('-') => {
            (word[..at].to_owned(), Some(word[at..].trim_start_matches('=').to_owned()))
        }
        Some(_) | None => (word.to_owned(), None),
    }
}

/// The words of a line; blanks in quotes are part of a word.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.trim().chars() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, _) if c.is_whitespace() => all.extend(word.take()),
            (Some(_) | None, _) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(format!("a quote is not closed in `{}` of the script", line.trim()));
    }
    all.extend(word);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sbatch_would_read_is_read() {
        let script = "#!/bin/bash\n#SBATCH --job-name=\"two words\" -p gpu,cpu\n#SBATCH -N2 --ntasks 8 # as many\n\n# a word\n\
                      #SBATCH --time=1-02:03:04 --mem=4G\n#SBATCH -G 3 --no-requeue\nhostname\n#SBATCH --nonsense\n";
        let (asked, name, rest) = of_script(script).unwrap();
        let wanted = Allocation {
            partition: Some("gpu,cpu".to_owned()),
            nodes: Some(2),
            tasks: Some(8),
            time_limit_minutes: Some(26 * 60 + 4),
            memory_mb: Some(4096),
            gpus: Some(3),
            requeue: Some(false),
            ..Allocation::default()
        };
        assert_eq!((asked, name.as_deref()), (wanted, Some("two words")));
        assert!(rest.contains("\n##SBATCH -N2"), "its lines stay for people");
        assert!(rest.contains("\n#SBATCH --nonsense"), "after the first command nothing is read");
    }

    #[test]
    fn what_peoples_scripts_have_is_read() {
        let script = "#!/bin/bash\n#SBATCH -N 2-4 --ntasks-per-node=8 --mem-per-cpu=2G\n#SBATCH --gres=gpu:a100:2,shard:1 --gpus-per-node=2\n\
                      #SBATCH --dependency=afterok:17 -w n[1-2] -x n9 --exclusive --open-mode=truncate --comment=\"a trial\"\n\
                      #SBATCH --mail-type=END,FAIL --mail-user=ada@site --signal=B:USR1@120 --export=ALL\nhostname\n";
        let (asked, ..) = of_script(script).unwrap();
        let text = |text: &str| Some(text.to_owned());
        let wanted = Allocation {
            nodes: Some(2),
            max_nodes: Some(4),
            tasks_per_node: Some(8),
            memory_per_cpu_mb: Some(2_048),
            gres: text("gpu:a100:2,shard:1"),
            gpus_per_node: text("2"),
            dependency: text("afterok:17"),
            nodelist: text("n[1-2]"),
            exclude: text("n9"),
            exclusive: text("true"),
            open_mode: text("truncate"),
            comment: text("a trial"),
            mail_type: text("END,FAIL"),
            mail_user: text("ada@site"),
            signal: text("B:USR1@120"),
            ..Allocation::default()
        };
        assert_eq!(asked, wanted);
        assert_eq!(asked.flaws(), []);
        let (asked, ..) = of_script("#!/bin/sh\n#SBATCH -N 2-4\n#SBATCH -N 3 --exclusive=user\n").unwrap();
        assert_eq!((asked.nodes, asked.max_nodes), (Some(3), None), "the later line counts");
        assert_eq!(asked.exclusive.as_deref(), Some("user"));
    }

    #[test]
    fn each_option_can_be_asked_for_in_a_script() {
        for option in OPTIONS {
            let value = match option.name {
                "requeue" | "maxNodes" => continue,
                "array" => "0-3",
                "dependency" => "singleton",
                "exclusive" => "mcs",
                "openMode" => "append",
                "mailType" => "ALL",
                "signal" => "USR1",
                _ => "3",
            };
            for word in option.words {
                let mark = if word.starts_with("--") { "=" } else { "" };
                let script = format!("#!/bin/sh\n#SBATCH {word}{mark}{value}\n");
                let (asked, ..) = of_script(&script).unwrap();
                let given = asked.given();
                assert_eq!(given.len(), 1, "{word}");
                assert_eq!(given[0].0.name, option.name, "{word}");
            }
        }
    }

    #[test]
    fn what_is_not_passed_on_is_said() {
        for (line, says) in [
            ("--contiguous", "`--contiguous`"),
            ("--nodes=0", "can't be `0`"),
            ("--nodes=1-0", "can't be `1-0`"),
            ("--nodes=1-2-3", "can't be `1-2-3`"),
            ("--time=soon", "can't be `soon`"),
            ("--partition", "has no value"),
            ("--comment='x", "quote"),
            ("--export=HOME", "name variables in `env`"),
            ("--exclusive=yes", "not one of true, user, mcs"),
            ("--gres=gpu:", "hint: `gpu:2`"),
            ("--dependency=afterok:job-1", "with Slurm's numbers"),
            ("--mem-per-cpu=some", "can't be `some`"),
            ("--partition=''", "is empty"),
        ] {
            let why = of_script(&format!("#!/bin/sh\n#SBATCH {line}\ntrue\n")).unwrap_err();
            assert!(why.contains(says), "{line}: {why}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_script_makes_it_panic(line in "(--|-)?[a-zA-Z-]{0,12}[ =]?.{0,20}", more in ".*") {
            if let Ok((_, _, rest)) = of_script(&format!("#!/bin/sh\n#SBATCH {line}\n{more}")) {
                proptest::prop_assert!(of_script(&rest).is_ok_and(|(asked, name, _)| asked == Allocation::default() && name.is_none()));
            }
        }
    }
}

//! `libra efficiency`.

use super::{connect, show};
use crate::args::{EfficiencyArgs, Format};
use crate::efficiency_page;
use crate::failure::{Exit, Failure};
use crate::{age, output};

/// Prints what jobs have made of what they were given.
pub(super) async fn run(args: &EfficiencyArgs) -> Result<Exit, Failure> {
    let client = connect(&args.connect)?;
    if let Some(id) = &args.id {
        let view = client.efficiency(id).await?;
        if args.json {
            output::print_json(&view)?;
            return Ok(Exit::Done);
        }
        return show(&args.connect, &view, efficiency_page::job);
    }
    let since = args.since.as_deref().map(since);
    let query: Vec<(&str, String)> =
        [("user", args.user.clone()), ("account", args.account.clone()), ("since", since)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
    let view = client.efficiencies(&query).await?;
    if args.json {
        output::print_json(&view)?;
        return Ok(Exit::Done);
    }
    let exit = show(&args.connect, &view, efficiency_page::list)?;
    if view.truncated && args.connect.output.output == Format::Table {
        output::say("note: there are more jobs than are looked at; these are the newest of them");
    }
    Ok(exit)
}

/// A time, or so long ago: `30d`, `12h`, `90m`.
fn since(text: &str) -> String {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "d" => Some(86_400),
        "h" => Some(3_600),
        "m" => Some(60),
        _ => None,
    };
    match (number.parse::<i64>(), seconds) {
        (Ok(number), Some(seconds)) => age::now().plus_seconds(-number.saturating_mul(seconds)).rfc3339(),
        // Libra says what is wrong with it.
        _ => text.to_owned(),
    }
}

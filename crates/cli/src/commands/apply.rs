//! `libra plan` and `libra apply`.

use libra_api::client::{Client, ClientError, Condition};
use libra_api::deployments::{AppliedView, PlanView};

use super::connect;
use crate::args::{ApplyArgs, Format, PlanArgs, SourceArgs};
use crate::failure::{Exit, Failure};
use crate::settling::{self, Look};
use crate::specifications::{self, STDIN, Specification};
use crate::{asking, deployment_page, output};

/// A specification and what it would change.
struct Planned {
    specification: Specification,
    plan: PlanView,
}

/// Prints what would change.
pub(super) async fn plan(args: &PlanArgs) -> Result<Exit, Failure> {
    let shown = show_plan(args).await;
    if !args.exit_code {
        return shown.map(|_| Exit::Done);
    }
    match shown {
        Ok(true) => Ok(Exit::CHANGES),
        Ok(false) => Ok(Exit::Done),
        Err(failure) => Err(failure.with_exit(Exit::Failed)),
    }
}

async fn show_plan(args: &PlanArgs) -> Result<bool, Failure> {
    let client = connect(&args.connect)?;
    let planned = planned(&client, &args.sources).await?;
    for Planned { plan, .. } in &planned {
        match args.connect.output.output {
            Format::Json => output::print_json_line(plan)?,
            Format::Table => output::print(&deployment_page::plan(plan))?,
        }
    }
    say_how_many(&planned);
    Ok(planned.iter().any(|one| deployment_page::changes(&one.plan)))
}

/// Shows what would change, asks, and makes it so.
pub(super) async fn apply(args: &ApplyArgs) -> Result<Exit, Failure> {
    if !args.yes {
        let taken = args.sources.files.iter().any(|source| source == STDIN);
        let refused = |failure: Failure| failure.hint("`libra plan` only shows what would change");
        asking::can_ask("apply this", taken).map_err(refused)?;
    }
    let client = connect(&args.connect)?;
    let planned = planned(&client, &args.sources).await?;
    for Planned { plan, .. } in &planned {
        output::say(&deployment_page::plan(plan));
    }
    say_how_many(&planned);
    if !args.yes && planned.iter().any(|one| deployment_page::changes(&one.plan)) {
        asking::ask("Apply?", "nothing was applied")?;
    }
    let format = args.connect.output.output;
    let mut applied = Vec::with_capacity(planned.len());
    for (index, one) in planned.iter().enumerate() {
        let answer = carry_out(&client, one).await;
        let answer = answer.map_err(|failure| half_done(failure, &applied, &planned[index + 1..]))?;
        if !args.wait {
            print(format, &answer, deployment_page::changes(&one.plan))?;
        }
        applied.push(answer);
    }
    if args.wait { wait(&client, applied, format).await } else { Ok(Exit::Done) }
}

/// Reads everything and plans everything. One that is wrong is told, and so are the others that are.
async fn planned(client: &Client, sources: &SourceArgs) -> Result<Vec<Planned>, Failure> {
    let specifications = specifications::read(&sources.files, std::io::stdin().lock())?;
    let (mut planned, mut wrong) = (Vec::with_capacity(specifications.len()), Vec::new());
    for specification in specifications {
        match client
            .plan_deployment(&specification.body(), specification.notation)
            .await
            .map_err(Failure::from)
        {
            Ok(plan) => planned.push(Planned { specification, plan }),
            Err(failure) if matches!(failure.exit(), Exit::Usage | Exit::Failed) => {
                wrong.push(failure.at(&specification.place));
            }
            // The others would fare no better.
            Err(failure) => return Err(failure),
        }
    }
    wrong.extend(twice(&planned));
    let count = wrong.len();
    let Some(last) = wrong.pop() else { return Ok(planned) };
    for failure in wrong {
        output::say(&failure.render(output::colours()));
    }
    Err(if count > 1 { last.hint(format!("correct these {count}, then try again")) } else { last })
}

/// A deployment that is declared more than once would be now this, now that.
fn twice(planned: &[Planned]) -> Vec<Failure> {
    let again = |(index, one): (usize, &Planned)| {
        let first = planned[..index].iter().find(|first| first.plan.id == one.plan.id)?;
        let (id, place) = (output::one_line(&one.plan.id), &one.specification.place);
        let message = format!("{id} is declared twice: in {} and in {place}", first.specification.place);
        Some(Failure::usage(message).hint("keep one of them, or give one another job_id"))
    };
    planned.iter().enumerate().filter_map(again).collect()
}

fn say_how_many(planned: &[Planned]) {
    if planned.len() > 1 {
        let plans: Vec<&PlanView> = planned.iter().map(|one| &one.plan).collect();
        output::say(&deployment_page::summary(&plans));
    }
}

/// Applies one as it was planned. What would change nothing is not sent.
async fn carry_out(client: &Client, one: &Planned) -> Result<AppliedView, Failure> {
    let Planned { specification, plan } = one;
    if !deployment_page::changes(plan) {
        let deployment = client.deployment(&plan.id).await?;
        return Ok(AppliedView { plan: plan.clone(), deployment });
    }
    let condition = Some(Condition::of(plan));
    let answer = client.apply_deployment(&specification.body(), specification.notation, condition).await;
    answer.map_err(|error| {
        let lost = matches!(error, ClientError::Unreachable { perhaps_taken: true, .. });
        let failure = Failure::from(error).at(&plan.id);
        if lost {
            failure.hint("it may have been applied all the same; the same command again is safe")
        } else {
            failure
        }
    })
}

/// What was applied before something went wrong stays; that has to be known. `left` was to follow.
fn half_done(failure: Failure, applied: &[AppliedView], left: &[Planned]) -> Failure {
    let changed = |plans: &mut dyn Iterator<Item = &PlanView>| {
        plans
            .filter(|plan| deployment_page::changes(plan))
            .map(|plan| plan.id.clone())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let parts = [
        ("applied", changed(&mut applied.iter().map(|one| &one.plan))),
        ("not applied", changed(&mut left.iter().map(|one| &one.plan))),
    ];
    let told = parts.into_iter().filter(|(_, names)| !names.is_empty());
    told.fold(failure, |failure, (what, names)| failure.hint(output::one_line(&format!("{what}: {names}"))))
}

fn print(format: Format, applied: &AppliedView, changed: bool) -> Result<(), Failure> {
    let AppliedView { plan, deployment } = applied;
    match format {
        Format::Json => output::print_json_line(applied),
        Format::Table => {
            let how = if changed { "applied" } else { "unchanged" };
            let line =
                format!("{} generation {}: {how}, {}", plan.id, deployment.generation, deployment.status);
            output::print(&format!("{}\n", output::one_line(&line)))
        }
    }
}

/// Waits for all of them, prints each as it ends, and tells what is wrong.
async fn wait(client: &Client, applied: Vec<AppliedView>, format: Format) -> Result<Exit, Failure> {
    let mut exit = Exit::Done;
    let settled = |applied: AppliedView, look: Look| {
        let complaint = settling::complaint(&applied.deployment, look);
        if let Some(failure) = &complaint {
            exit = failure.exit();
            output::say(&failure.render(output::colours()));
        }
        let line = settling::progress(&applied.deployment);
        match (format, complaint) {
            (Format::Table, None) => output::print(&format!("{line}\n")),
            (Format::Table, Some(_)) => Ok(()),
            (Format::Json, complaint) => {
                if complaint.is_none() {
                    output::say(&line);
                }
                output::print_json_line(&applied)
            }
        }
    };
    settling::until_settled(client, applied, settled).await?;
    Ok(exit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment_page::samples;
    use serde_json::json;

    fn read(text: &str) -> Vec<Planned> {
        let read = specifications::read(&[STDIN.to_owned()], text.as_bytes()).unwrap();
        let plan = |specification: Specification| {
            let body = specification.body();
            let id = body.lines().find_map(|line| line.strip_prefix("job_id: ")).unwrap().to_owned();
            Planned { plan: samples::plan(&id, "first-deploy", None, &[], &json!([])), specification }
        };
        read.into_iter().map(plan).collect()
    }

    #[test]
    fn a_name_that_is_given_twice_is_told_with_both_places() {
        assert_eq!(twice(&read("job_id: a\n---\njob_id: b\n")), []);
        let found = twice(&read("job_id: a\n---\njob_id: b\n---\njob_id: a\n"));
        let text: Vec<String> = found.iter().map(|failure| failure.render(false)).collect();
        assert_eq!(
            text.concat(),
            "error: a is declared twice: in standard input (document 1) and in standard input (document 3)\n\
             hint: keep one of them, or give one another job_id\n"
        );
    }

    #[test]
    fn what_was_done_before_a_failure_is_told() {
        let planned = read("job_id: a\n---\njob_id: b\n---\njob_id: c\n");
        let applied =
            |one: &Planned| AppliedView { plan: one.plan.clone(), deployment: samples::view(json!({})) };
        let stale = || Failure::new(Exit::Failed, "b was changed in between");
        let told = half_done(stale(), &[applied(&planned[0])], &planned[2..]);
        assert_eq!(told.hints(), ["applied: a", "not applied: c"]);
        assert_eq!(half_done(stale(), &[], &planned[1..]).hints(), ["not applied: b, c"]);
        assert_eq!(half_done(stale(), &[], &[]).hints(), [""; 0]);
    }
}

//! Figures, printed and never asserted.

use std::time::Instant;

use libra_core::memory::GIB;
use libra_core::simulate::{Figures, Recipe, Setting, generate, run};
use libra_core::turn::{Policy, Pool, Resources};

#[test]
#[ignore = "prints figures"]
fn figures_of_fifty_thousand_jobs() {
    for seed in [1, 2, 3] {
        let recipe = Recipe { seed, ..Recipe::default() };
        let workload = generate(&recipe);
        let capacity = Resources::new(recipe.cores, 256 * GIB);
        let pools = vec![Pool::single("local", capacity)];
        for (name, policy, learn) in [
            ("first come", Policy::first_come(false), false),
            ("first come with backfill", Policy::first_come(true), false),
            ("libra", Policy::default(), true),
        ] {
            let begun = Instant::now();
            let outcome = run(&workload, &Setting { pools: pools.clone(), policy, learn });
            let figures = Figures::of(&workload, &outcome, capacity);
            println!("seed {seed}, {name} ({:.1} s):\n{figures}\n", begun.elapsed().as_secs_f64());
        }
    }
}

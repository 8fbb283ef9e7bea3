//! On which nodes a job fits.

use super::demand::Demand;
use super::resources::Resources;

/// Where a job goes: what it holds on which node, its driver's first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placement {
    /// The number of the driver's node.
    pub(super) node: u32,
    /// Executors by the number of their node.
    pub(super) executors: Vec<(u32, u32)>,
}

impl Placement {
    /// What is held where.
    pub(super) fn parts(&self, demand: &Demand) -> Vec<(u32, Resources)> {
        let driver = [(self.node, demand.driver)];
        let executors = self.executors.iter().map(|(node, n)| (*node, demand.executors.each.times(*n)));
        driver.into_iter().chain(executors).collect()
    }
}

fn index(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// The place of a job on nodes with this much `free`: its driver on the node with the fewest jobs among those with
/// room, its executors wherever they fit.
pub(super) fn place(free: &[Resources], jobs: impl Fn(usize) -> u64, demand: &Demand) -> Option<Placement> {
    let wanted = demand.executors.reserved();
    let hosts = (0..free.len()).filter(|n| demand.driver.fits(&free[*n]));
    if wanted == 0 {
        let node = hosts.min_by_key(|n| (jobs(*n), *n))?;
        return Some(Placement { node: index(node), executors: Vec::new() });
    }
    let mut hosts: Vec<usize> = hosts.collect();
    hosts.sort_by_key(|n| (jobs(*n), *n));
    let each = demand.executors.each;
    let counts: Vec<u32> = free.iter().map(|room| each.count_in(room, wanted)).collect();
    let all: u64 = counts.iter().map(|n| u64::from(*n)).sum();
    for node in hosts {
        // Only the driver's own node has room for fewer than before.
        let beside = each.count_in(&free[node].minus(demand.driver), wanted);
        if all - u64::from(counts[node]) + u64::from(beside) < u64::from(wanted) {
            continue;
        }
        let mut left = wanted;
        let mut executors = Vec::new();
        for (other, count) in counts.iter().enumerate() {
            let here = if other == node { beside } else { *count }.min(left);
            if here > 0 {
                executors.push((index(other), here));
                left -= here;
            }
        }
        return Some(Placement { node: index(node), executors });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::demand::Executors;
    use super::*;

    fn cores(n: u64) -> Resources {
        Resources::new(n, 0)
    }

    #[test]
    fn a_driver_goes_where_the_fewest_jobs_are() {
        let demand = Demand::on_one_node(cores(4));
        let place = |jobs: [u64; 3]| place(&[cores(4), cores(2), cores(8)], |n| jobs[n], &demand);
        assert_eq!(place([0, 0, 0]).unwrap().node, 0);
        assert_eq!(place([2, 0, 1]).unwrap().node, 2);
    }

    #[test]
    fn executors_spread_and_never_break() {
        let executors = Executors { each: cores(3), min: 3, max: 3 };
        let demand = Demand { driver: cores(1), executors, elsewhere: None };
        assert_eq!(place(&[cores(5), cores(4)], |_| 0, &demand), None, "ten cores, but only two executors");
        let placed = place(&[cores(7), cores(4)], |_| 0, &demand).unwrap();
        assert_eq!((placed.node, placed.executors), (0, vec![(0, 2), (1, 1)]));
    }
}

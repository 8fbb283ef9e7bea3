//! Amounts of the things that jobs compete for.

use crate::memory;

/// One kind of thing that is shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// Processor cores.
    Cores,
    /// Bytes of memory.
    Memory,
    /// Graphics processors.
    Gpus,
    /// Places on a shared server.
    Slots,
}

impl Dimension {
    /// All of them, in the order in which a shortage is named.
    pub const ALL: [Self; 4] = [Self::Cores, Self::Memory, Self::Gpus, Self::Slots];

    /// An amount of it without its name: `4`, `2 GiB`.
    pub fn figure(self, amount: u64) -> String {
        match self {
            Self::Memory => memory::display(amount),
            Self::Cores | Self::Gpus | Self::Slots => amount.to_string(),
        }
    }

    /// An amount of it, for people: `4 cores`, `2 GiB of memory`.
    pub fn words(self, amount: u64) -> String {
        let many = |one: &str| format!("{amount} {one}{}", if amount == 1 { "" } else { "s" });
        match self {
            Self::Cores => many("core"),
            Self::Memory => format!("{} of memory", memory::display(amount)),
            Self::Gpus => many("GPU"),
            Self::Slots => many("slot"),
        }
    }
}

/// An amount of each dimension. All arithmetic saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resources {
    /// Processor cores.
    pub cores: u64,
    /// Bytes of memory.
    pub memory: u64,
    /// Graphics processors.
    pub gpus: u64,
    /// Places on a shared server.
    pub slots: u64,
}

impl Resources {
    /// Cores and bytes of memory, nothing else.
    pub const fn new(cores: u64, memory: u64) -> Self {
        Self { cores, memory, gpus: 0, slots: 0 }
    }

    /// Places on a shared server, nothing else.
    pub const fn of_slots(slots: u64) -> Self {
        Self { cores: 0, memory: 0, gpus: 0, slots }
    }

    /// The amount of one dimension.
    pub const fn get(&self, dimension: Dimension) -> u64 {
        match dimension {
            Dimension::Cores => self.cores,
            Dimension::Memory => self.memory,
            Dimension::Gpus => self.gpus,
            Dimension::Slots => self.slots,
        }
    }

    fn zip(self, other: Self, f: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            cores: f(self.cores, other.cores),
            memory: f(self.memory, other.memory),
            gpus: f(self.gpus, other.gpus),
            slots: f(self.slots, other.slots),
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_add)
    }

    /// What is left of this without `other`; nothing where `other` is more.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_sub)
    }

    /// The lesser of both in each dimension.
    #[must_use]
    pub fn least(self, other: Self) -> Self {
        self.zip(other, u64::min)
    }

    /// The greater of both in each dimension.
    #[must_use]
    pub fn most(self, other: Self) -> Self {
        self.zip(other, u64::max)
    }

    /// `n` times this.
    #[must_use]
    pub fn times(self, n: u32) -> Self {
        self.zip(self, |a, _| a.saturating_mul(u64::from(n)))
    }

    /// True when `room` has at least this much of everything.
    pub fn fits(&self, room: &Self) -> bool {
        self.cores <= room.cores
            && self.memory <= room.memory
            && self.gpus <= room.gpus
            && self.slots <= room.slots
    }

    /// How many times this fits into `room`, at most `most`; nothing needed fits `most` times.
    pub fn count_in(&self, room: &Self, most: u32) -> u32 {
        Dimension::ALL
            .into_iter()
            .filter_map(|d| room.get(d).checked_div(self.get(d)))
            .map(|n| u32::try_from(n).unwrap_or(u32::MAX))
            .min()
            .map_or(most, |n| n.min(most))
    }

    /// The first dimension in which `room` has less than this.
    pub fn shortage(&self, room: &Self) -> Option<Dimension> {
        Dimension::ALL.into_iter().find(|d| self.get(*d) > room.get(*d))
    }

    /// True when it is nothing at all.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

/// What jobs hold: how many they are, and their resources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Jobs.
    pub jobs: u64,
    /// Their resources together.
    pub resources: Resources,
}

impl Held {
    /// One job that holds `resources`.
    pub const fn one(resources: Resources) -> Self {
        Self { jobs: 1, resources }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { jobs: self.jobs.saturating_add(other.jobs), resources: self.resources.plus(other.resources) }
    }

    /// What is left without `other`.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self { jobs: self.jobs.saturating_sub(other.jobs), resources: self.resources.minus(other.resources) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::GIB;

    #[test]
    fn counting_what_fits() {
        let each = Resources::new(2, GIB);
        assert_eq!(each.count_in(&Resources::new(7, 2 * GIB), 10), 2, "memory is short");
        assert_eq!(each.count_in(&Resources::new(7, 64 * GIB), 10), 3, "cores are short");
        assert_eq!(each.count_in(&Resources::new(64, 64 * GIB), 10), 10);
        assert_eq!(Resources::default().count_in(&Resources::default(), 4), 4);
        assert_eq!(each.shortage(&Resources::new(2, 1)), Some(Dimension::Memory));
    }

    #[test]
    fn amounts_in_words() {
        assert_eq!(Dimension::Cores.words(1), "1 core");
        assert_eq!(Dimension::Memory.words(3 * GIB), "3 GiB of memory");
    }
}

//! Places that are few, such as those of readers that follow: no user may take them all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::auth::Principal;

/// A number of places, of which each user may have half.
#[derive(Clone, Debug)]
pub(crate) struct Places(Arc<Mutex<Taken>>);

#[derive(Debug)]
struct Taken {
    most: usize,
    all: usize,
    by_user: HashMap<Whose, usize>,
}

/// A user of a tenant.
type Whose = (String, String);

/// One place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Taking {
    places: Places,
    whose: Whose,
}

/// Why there is no place; both with the number of places that there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// All are taken.
    All(usize),
    /// The user has as many as one user may have.
    Own(usize),
}

impl Places {
    /// So many places, all free.
    pub(crate) fn new(most: usize) -> Self {
        Self(Arc::new(Mutex::new(Taken { most, all: 0, by_user: HashMap::new() })))
    }

    /// A place for this user.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn take(&self, who: &Principal) -> Result<Taking, Full> {
        let whose = (who.tenant.clone(), who.user.clone());
        let mut taken = self.locked();
        let each = taken.most.div_ceil(2);
        if taken.all >= taken.most {
            return Err(Full::All(taken.most));
        }
        if taken.by_user.get(&whose).is_some_and(|own| *own >= each) {
            return Err(Full::Own(each));
        }
        taken.all += 1;
        *taken.by_user.entry(whose.clone()).or_default() += 1;
        Ok(Taking { places: self.clone(), whose })
    }

    fn locked(&self) -> MutexGuard<'_, Taken> {
        // Nothing panics while it is held; even then the numbers would be whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        let mut taken = self.places.locked();
        taken.all -= 1;
        if let Some(own) = taken.by_user.get_mut(&self.whose) {
            *own -= 1;
            if *own == 0 {
                taken.by_user.remove(&self.whose);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Role;

    fn user(name: &str) -> Principal {
        Principal { user: name.to_owned(), tenant: "t".to_owned(), role: Role::Developer }
    }

    #[test]
    fn nobody_takes_all_places_and_each_is_given_back() {
        let places = Places::new(5);
        let ann: Vec<_> = (0..3).map(|_| places.take(&user("ann")).unwrap()).collect();
        assert_eq!(places.take(&user("ann")).unwrap_err(), Full::Own(3));
        let bob: Vec<_> = (0..2).map(|_| places.take(&user("bob")).unwrap()).collect();
        assert_eq!(places.take(&user("bob")).unwrap_err(), Full::All(5));
        drop(ann);
        drop(bob);
        let left = places.locked();
        assert_eq!((left.all, left.by_user.len()), (0, 0));
        drop(left);
        assert_eq!(Places::new(0).take(&user("ann")).unwrap_err(), Full::All(0));
        assert!(Places::new(1).take(&user("ann")).is_ok(), "a single place is anybody's");
    }
}

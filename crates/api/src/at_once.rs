//! How many of one kind may run at once: bulk requests, exports, searches, live streams, waits for events, tests of endpoints,
//! look-ups of names, forms with files. In all, and for one workspace, key or person, so that none keeps the others out.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use model::WorkspaceId;

/// The requests of one kind that are running, by whose they are.
#[derive(Clone)]
pub struct AtOnce<Whose: Eq + Hash = WorkspaceId> {
    running: Arc<Mutex<HashMap<Whose, usize>>>,
    requests_max: usize,
    own_requests_max: usize,
}

/// The right to run one; over when it is dropped.
pub struct Running<Whose: Eq + Hash = WorkspaceId> {
    at_once: AtOnce<Whose>,
    whose: Whose,
}

/// Why another one may not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// As many as may be are running.
    Everywhere,
    /// The workspace, the key or the person runs as many as it may.
    Workspace,
}

impl<Whose: Eq + Hash + Clone> AtOnce<Whose> {
    /// None yet.
    pub fn new(requests_max: usize, own_requests_max: usize) -> Self {
        Self { running: Arc::default(), requests_max, own_requests_max }
    }

    /// Begins one.
    ///
    /// # Errors
    /// [`Full`]
    pub fn begin(&self, whose: Whose) -> Result<Running<Whose>, Full> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.values().sum::<usize>() >= self.requests_max {
            return Err(Full::Everywhere);
        }
        let own = running.entry(whose.clone()).or_default();
        if *own >= self.own_requests_max {
            return Err(Full::Workspace);
        }
        *own += 1;
        Ok(Running { at_once: self.clone(), whose })
    }
}

impl<Whose: Eq + Hash> Drop for Running<Whose> {
    fn drop(&mut self) {
        let mut running = self.at_once.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = running.get_mut(&self.whose) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                running.remove(&self.whose);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workspace_has_its_share_and_no_more() {
        let at_once = AtOnce::new(3, 2);
        let [one, two, three] = [(); 3].map(|()| WorkspaceId::generate());

        let first = at_once.begin(one);
        let second = at_once.begin(one);
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(at_once.begin(one).err(), Some(Full::Workspace));
        let others = at_once.begin(two);
        assert!(others.is_ok());
        assert_eq!(at_once.begin(three).err(), Some(Full::Everywhere));

        drop(first);
        assert!(at_once.begin(three).is_ok());
        drop((second, others));
        assert!(at_once.running.lock().expect("no panic").is_empty(), "nothing is kept of what is over");
    }
}

//! How many bulk requests, or exports, run at once: in all, and for one workspace, so that none keeps the others out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use model::WorkspaceId;

/// The requests of one kind that are running.
#[derive(Clone)]
pub struct Imports {
    running: Arc<Mutex<HashMap<WorkspaceId, usize>>>,
    requests_max: usize,
    workspace_requests_max: usize,
}

/// The right to run one; over when it is dropped.
pub struct Running {
    imports: Imports,
    workspace_id: WorkspaceId,
}

/// Why another one may not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// As many as may be are running.
    Everywhere,
    /// The workspace runs as many as it may.
    Workspace,
}

impl Imports {
    /// None yet.
    pub fn new(requests_max: usize, workspace_requests_max: usize) -> Self {
        Self { running: Arc::default(), requests_max, workspace_requests_max }
    }

    /// Begins one.
    ///
    /// # Errors
    /// [`Full`]
    pub fn begin(&self, workspace_id: WorkspaceId) -> Result<Running, Full> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.values().sum::<usize>() >= self.requests_max {
            return Err(Full::Everywhere);
        }
        let own = running.entry(workspace_id).or_default();
        if *own >= self.workspace_requests_max {
            return Err(Full::Workspace);
        }
        *own += 1;
        Ok(Running { imports: self.clone(), workspace_id })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = self.imports.running.lock().unwrap_or_else(PoisonError::into_inner);
        let left = running.get(&self.workspace_id).copied().unwrap_or_default().saturating_sub(1);
        if left == 0 {
            running.remove(&self.workspace_id);
        } else {
            running.insert(self.workspace_id, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workspace_has_its_share_and_no_more() {
        let imports = Imports::new(3, 2);
        let [one, two, three] = [(); 3].map(|()| WorkspaceId::generate());

        let first = imports.begin(one);
        let second = imports.begin(one);
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(imports.begin(one).err(), Some(Full::Workspace));
        let others = imports.begin(two);
        assert!(others.is_ok());
        assert_eq!(imports.begin(three).err(), Some(Full::Everywhere));

        drop(first);
        assert!(imports.begin(three).is_ok());
        drop((second, others));
        assert!(imports.running.lock().expect("no panic").is_empty(), "nothing is kept of what is over");
    }
}

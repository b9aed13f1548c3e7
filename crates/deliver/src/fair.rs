//! How much of what one step may begin is whose: workspaces have alike, and in each of them its endpoints. What one has no room
//! for, others get. Pure.

use std::collections::BTreeMap;

use model::WorkspaceId;

/// How much each of these endpoints gets of `of_all`, none more than it has room for; they are of these workspaces.
///
/// What is too little to be shared goes to some, and at the next `turn` to those after them, so that nobody is passed over for
/// long.
pub fn shares(rooms: &[(WorkspaceId, usize)], of_all: usize, turn: usize) -> Vec<usize> {
    let mut workspaces: BTreeMap<WorkspaceId, Vec<usize>> = BTreeMap::new();
    for (place, (workspace_id, _)) in rooms.iter().enumerate() {
        workspaces.entry(*workspace_id).or_default().push(place);
    }
    let room = |place: &usize| rooms[*place].1;
    let wanted: Vec<usize> = workspaces.values().map(|own| own.iter().map(room).sum()).collect();
    let level = Level::of(&wanted, of_all);
    let before = level.after(turn);
    let mut shares = vec![0; rooms.len()];
    for ((own, of_workspace), before) in workspaces.values().zip(level.with_rest(turn)).zip(before) {
        let wanted: Vec<usize> = own.iter().map(room).collect();
        // by turns, an endpoint would starve whose workspace has its turn only when the endpoint has not
        let of_endpoints = Level::of(&wanted, of_workspace).with_rest_after(before);
        for (place, share) in own.iter().zip(of_endpoints) {
            shares[*place] = share;
        }
    }
    shares
}

/// To each as much as to the others, but no more than it wants.
struct Level {
    got: Vec<usize>,
    /// Who wants more.
    hungry: Vec<usize>,
    /// Less than one for each of them.
    left: usize,
}

impl Level {
    fn of(wanted: &[usize], of_all: usize) -> Self {
        let (mut got, mut left) = (vec![0; wanted.len()], of_all);
        let mut hungry: Vec<usize> = (0..wanted.len()).filter(|place| wanted[*place] > 0).collect();
        while !hungry.is_empty() && left >= hungry.len() {
            let each = left / hungry.len();
            for place in &hungry {
                let more = each.min(wanted[*place] - got[*place]);
                got[*place] += more;
                left -= more;
            }
            hungry.retain(|place| got[*place] < wanted[*place]);
        }
        Self { got, hungry, left }
    }

    /// What each has at this turn: what is left goes to those after whoever had it at the turn before.
    fn with_rest(&self, turn: usize) -> Vec<usize> {
        self.with_rest_after(turn.wrapping_mul(self.left))
    }

    /// What each has when so much was given out before, one by one in their order.
    fn with_rest_after(&self, before: usize) -> Vec<usize> {
        let mut got = self.got.clone();
        if !self.hungry.is_empty() {
            let first = before % self.hungry.len();
            for place in self.hungry.iter().cycle().skip(first).take(self.left) {
                got[*place] += 1;
            }
        }
        got
    }

    /// What each got in so many turns, if all were like this one.
    fn after(&self, turns: usize) -> Vec<usize> {
        let mut got: Vec<usize> = self.got.iter().map(|got| got.wrapping_mul(turns)).collect();
        let rest = turns.wrapping_mul(self.left);
        for (number, place) in self.hungry.iter().enumerate() {
            let own = rest.wrapping_add(self.hungry.len() - 1 - number) / self.hungry.len();
            got[*place] = got[*place].wrapping_add(own);
        }
        got
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn workspace(number: u128) -> WorkspaceId {
        WorkspaceId::from_uuid(uuid::Uuid::from_u128(number))
    }

    #[test]
    fn a_workspace_with_many_endpoints_has_no_more_than_one_with_one() {
        let many = (0..50).map(|_| (workspace(1), 32));
        let rooms: Vec<_> = many.chain([(workspace(2), 256)]).collect();

        let shares = shares(&rooms, 400, 0);

        assert_eq!((shares[50], shares[..50].iter().sum::<usize>()), (200, 200));
        assert!(shares[..50].iter().all(|share| *share == 4));
    }

    #[test]
    fn what_one_has_no_room_for_others_get() {
        let rooms = [(workspace(1), 3), (workspace(2), 100), (workspace(2), 1), (workspace(3), 100)];

        assert_eq!(shares(&rooms, 103, 0), [3, 49, 1, 50]);
        assert_eq!(shares(&rooms, 1000, 0), [3, 100, 1, 100]);
        assert_eq!(shares(&[], 1000, 0), [0; 0]);
    }

    #[test]
    fn what_is_too_little_for_all_goes_round() {
        for (endpoints, of_all) in [(3, 1), (5000, 1024), (512, 300), (7, 6)] {
            let rooms = vec![(workspace(1), 9); endpoints];
            let mut begun = vec![0; endpoints];
            for turn in 0..endpoints.div_ceil(of_all) + 1 {
                for (begun, share) in begun.iter_mut().zip(shares(&rooms, of_all, turn)) {
                    *begun += share;
                }
            }

            assert!(begun.iter().all(|begun| *begun > 0), "{of_all} for {endpoints}");
        }
    }

    #[test]
    fn nobody_is_passed_over_when_workspaces_and_endpoints_go_round_together() {
        for (workspaces, endpoints, of_all) in
            [(2, 2, 1), (4, 4, 2), (3, 3, 1), (3, 2, 2), (6, 4, 4), (3, 3, 4), (2, 4, 3), (2048, 2, 1024)]
        {
            for room in [1, 9] {
                let rooms: Vec<_> = (0..workspaces)
                    .flat_map(|of| (0..endpoints).map(move |_| (workspace(of), room)))
                    .collect();
                let mut begun = vec![0; rooms.len()];
                for turn in 0..rooms.len().div_ceil(of_all) {
                    for (begun, share) in begun.iter_mut().zip(shares(&rooms, of_all, turn)) {
                        *begun += share;
                    }
                }

                let passed_over = begun.iter().filter(|begun| **begun == 0).count();
                assert_eq!(passed_over, 0, "{of_all} for {workspaces} workspaces of {endpoints} endpoints");
            }
        }
    }

    #[test]
    fn nobody_is_passed_over_in_workspaces_of_several_sizes() {
        for (sizes, of_all) in [(&[2_usize, 3][..], 1), (&[5, 3, 2], 2), (&[7, 1, 1], 2), (&[2, 4, 1], 1)] {
            let of_sizes = (0_u128..).zip(sizes);
            let rooms: Vec<_> =
                of_sizes.flat_map(|(of, size)| (0..*size).map(move |_| (workspace(of), 9_usize))).collect();
            // as if all were as large as the largest
            let largest = sizes.iter().max().copied().unwrap_or_default();
            let turns = (sizes.len() * largest).div_ceil(of_all) + 1;
            let mut begun = vec![0; rooms.len()];
            for turn in 0..turns {
                for (begun, share) in begun.iter_mut().zip(shares(&rooms, of_all, turn)) {
                    *begun += share;
                }
            }

            assert!(begun.iter().all(|begun| *begun > 0), "{of_all} for {sizes:?}: {begun:?}");
        }
    }

    proptest! {
        #[test]
        fn all_is_given_out_and_nobody_has_more_while_another_wants_more(
            wanted in prop::collection::vec(0_usize..300, 0..40),
            of_all in 0_usize..2000,
            turn: usize,
        ) {
            let got = Level::of(&wanted, of_all).with_rest(turn);

            prop_assert_eq!(got.iter().sum::<usize>(), of_all.min(wanted.iter().sum()));
            let most = got.iter().max().copied().unwrap_or_default();
            for (got, wanted) in got.iter().zip(&wanted) {
                prop_assert!(got <= wanted && (got == wanted || got + 1 >= most));
            }
        }

        #[test]
        fn no_endpoint_gets_more_than_it_has_room_for(
            rooms in prop::collection::vec((0_u128..6, 0_usize..300), 0..60),
            of_all in 0_usize..2000,
            turn: usize,
        ) {
            let rooms: Vec<_> = rooms.into_iter().map(|(of, room)| (workspace(of), room)).collect();

            let shares = shares(&rooms, of_all, turn);

            prop_assert!(shares.iter().zip(&rooms).all(|(share, (_, room))| share <= room));
            let wanted: usize = rooms.iter().map(|(_, room)| room).sum();
            prop_assert_eq!(shares.iter().sum::<usize>(), of_all.min(wanted));
        }
    }
}

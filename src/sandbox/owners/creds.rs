//! The ids that a process believes to have, and how it may change them (`credentials(7)`, `setresuid(2)`).

use std::collections::BTreeSet;

/// What a process may not do.
pub(super) const DENIED: i32 = libc::EPERM;

/// No change, in the calls that set several ids.
const KEEP: u32 = u32::MAX;

/// Real, effective, saved and file system id of a user or of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Set {
    pub(super) real: u32,
    pub(super) effective: u32,
    pub(super) saved: u32,
    pub(super) file: u32,
}

impl Set {
    pub(super) const fn all(id: u32) -> Self {
        Self { real: id, effective: id, saved: id, file: id }
    }

    fn has(&self, id: u32) -> bool {
        [self.real, self.effective, self.saved].contains(&id)
    }

    /// `setuid(2)`.
    fn set(self, id: u32, privileged: bool) -> Result<Self, i32> {
        match id {
            KEEP => Err(libc::EINVAL),
            id if privileged => Ok(Self::all(id)),
            id if id == self.real || id == self.saved => Ok(Self { effective: id, file: id, ..self }),
            _ => Err(DENIED),
        }
    }

    /// `setreuid(2)`.
    fn set_two(self, real: u32, effective: u32, privileged: bool) -> Result<Self, i32> {
        let may = |id: u32, own: &[u32]| id == KEEP || privileged || own.contains(&id);
        if !may(real, &[self.real, self.effective]) || !may(effective, &[self.real, self.effective, self.saved]) {
            return Err(DENIED);
        }
        let or = |id: u32, old: u32| if id == KEEP { old } else { id };
        let new = Self { real: or(real, self.real), effective: or(effective, self.effective), ..self };
        let saves = real != KEEP || effective != KEEP && effective != self.real;
        Ok(Self { saved: if saves { new.effective } else { self.saved }, file: new.effective, ..new })
    }

    /// `setresuid(2)`.
    fn set_three(self, ids: [u32; 3], privileged: bool) -> Result<Self, i32> {
        if !privileged && ids.iter().any(|id| *id != KEEP && !self.has(*id)) {
            return Err(DENIED);
        }
        let or = |id: u32, old: u32| if id == KEEP { old } else { id };
        let effective = or(ids[1], self.effective);
        Ok(Self { real: or(ids[0], self.real), effective, saved: or(ids[2], self.saved), file: effective })
    }

    /// `setfsuid(2)`, which says nothing of failure.
    fn set_file(self, id: u32, privileged: bool) -> Self {
        let may = id != KEEP && (privileged || self.has(id) || id == self.file);
        if may { Self { file: id, ..self } } else { self }
    }

    /// What becomes of it where the program that is executed gives `to`; without, its effective id is saved.
    fn execute(self, to: Option<u32>) -> Self {
        let effective = to.unwrap_or(self.effective);
        Self { effective, saved: effective, file: effective, ..self }
    }
}

/// Which ids are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    User,
    Group,
}

/// How ids are to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    One(u32),
    Two(u32, u32),
    Three([u32; 3]),
    File(u32),
}

/// All ids of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Creds {
    pub(super) user: Set,
    pub(super) group: Set,
    pub(super) groups: BTreeSet<u32>,
    /// Privileges outlive the last id of root (`prctl(2)` `PR_SET_KEEPCAPS`).
    pub(super) keeps: bool,
    /// They have done so.
    pub(super) kept: bool,
}

impl Creds {
    pub(super) fn new(uid: u32, gid: u32, groups: &[u32]) -> Self {
        Self {
            user: Set::all(uid),
            group: Set::all(gid),
            groups: groups.iter().copied().collect(),
            keeps: false,
            kept: false,
        }
    }

    /// Whoever is user 0 has the privileges of `capabilities(7)`, or has kept them; single ones are not followed.
    pub(super) fn is_root(&self) -> bool {
        self.user.effective == 0 || self.kept
    }

    /// Whose a new file is.
    pub(super) fn owner(&self) -> (u32, u32) {
        (self.user.file, self.group.file)
    }

    pub(super) fn is_member(&self, gid: u32) -> bool {
        self.group.file == gid || self.groups.contains(&gid)
    }

    pub(super) fn of(&self, of: Of) -> &Set {
        match of {
            Of::User => &self.user,
            Of::Group => &self.group,
        }
    }

    pub(super) fn change(&self, of: Of, change: Change) -> Result<Self, i32> {
        let (set, privileged) = (*self.of(of), self.is_root());
        let set = match change {
            Change::One(id) => set.set(id, privileged)?,
            Change::Two(real, effective) => set.set_two(real, effective, privileged)?,
            Change::Three(ids) => set.set_three(ids, privileged)?,
            Change::File(id) => set.set_file(id, privileged),
        };
        Ok(match of {
            Of::User => {
                let left = self.user.has(0) && !set.has(0);
                Self { user: set, kept: if left { self.keeps } else { self.kept }, ..self.clone() }
            }
            Of::Group => Self { group: set, ..self.clone() },
        })
    }

    pub(super) fn set_groups(&self, groups: BTreeSet<u32>) -> Result<Self, i32> {
        if self.is_root() { Ok(Self { groups, ..self.clone() }) } else { Err(DENIED) }
    }

    /// What becomes of it at `execve(2)` of a file that gives a user or a group.
    pub(super) fn execute(&self, uid: Option<u32>, gid: Option<u32>) -> Self {
        let groups = self.groups.clone();
        Self { user: self.user.execute(uid), group: self.group.execute(gid), groups, keeps: false, kept: false }
    }

    /// Tells whether it may give a file of `owner` to others (`chown(2)`).
    pub(super) fn may_give(&self, owner: (u32, u32), to: (Option<u32>, Option<u32>)) -> bool {
        let is_owner = self.user.file == owner.0;
        let user = to.0.is_none_or(|uid| is_owner && uid == owner.0);
        let group = to.1.is_none_or(|gid| is_owner && (gid == owner.1 || self.is_member(gid)));
        self.is_root() || user && group
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: &Creds, changes: &[(Of, Change)]) -> Result<Creds, i32> {
        changes.iter().try_fold(start.clone(), |creds, (of, change)| creds.change(*of, *change))
    }

    #[test]
    fn whoever_drops_root_for_good_cannot_get_it_back() {
        use Change::{One, Three, Two};
        let root = Creds::new(0, 0, &[0]);
        // What apt does to become `_apt`, and how it checks.
        let apt = after(&root, &[(Of::Group, Three([65534; 3])), (Of::User, Three([100; 3]))]).expect("root may");
        assert_eq!((apt.user, apt.group), (Set::all(100), Set::all(65534)));
        for change in [One(0), Two(0, KEEP), Two(KEEP, 0), Three([KEEP, 0, KEEP])] {
            assert_eq!(apt.change(Of::User, change), Err(DENIED), "{change:?}");
            assert_eq!(apt.change(Of::Group, change), Err(DENIED), "{change:?}");
        }
        assert_eq!(apt.set_groups(BTreeSet::new()), Err(DENIED));
        assert_eq!(apt.change(Of::User, One(KEEP)), Err(libc::EINVAL));
        // Who keeps the saved id comes back.
        let away = after(&root, &[(Of::User, Three([KEEP, 5, KEEP]))]).expect("root may");
        assert_eq!((away.user.real, away.user.effective, away.user.saved, away.user.file), (0, 5, 0, 5));
        assert_eq!(away.change(Of::User, One(0)).expect("saved").user.effective, 0);
    }

    #[test]
    fn the_saved_id_follows_setreuid_as_the_kernel_has_it() {
        let joe = Creds::new(5, 5, &[]);
        let set_user = joe.execute(Some(0), None);
        assert_eq!((set_user.user.real, set_user.user.effective, set_user.user.saved), (5, 0, 0));
        let swapped = set_user.change(Of::User, Change::Two(0, 5)).expect("root may");
        assert_eq!((swapped.user.real, swapped.user.effective, swapped.user.saved), (0, 5, 5));
        let only = joe.execute(Some(7), None).change(Of::User, Change::Two(KEEP, 5)).expect("its own");
        assert_eq!((only.user.effective, only.user.saved), (5, 7));
        assert_eq!(joe.execute(None, None), joe);
    }

    #[test]
    fn privileges_are_kept_where_asked_for_and_until_something_is_executed() {
        let root = Creds { keeps: true, ..Creds::new(0, 0, &[]) };
        let joe = root.change(Of::User, Change::Three([5; 3])).expect("root may");
        assert!(joe.is_root() && joe.change(Of::Group, Change::Three([6; 3])).is_ok());
        assert!(!joe.execute(None, None).is_root());
    }

    #[test]
    fn a_file_is_given_away_by_root_and_to_a_group_of_its_owner() {
        let root = Creds::new(0, 0, &[]);
        let joe = Creds::new(5, 6, &[7]);
        assert!(root.may_give((9, 9), (Some(5), Some(5))));
        assert!(joe.may_give((5, 6), (Some(5), Some(7))) && joe.may_give((5, 6), (None, Some(6))));
        for (owner, to) in [((5, 6), (Some(0), None)), ((5, 6), (None, Some(0))), ((0, 0), (None, Some(7)))] {
            assert!(!joe.may_give(owner, to), "{owner:?} {to:?}");
        }
        assert!(joe.may_give((0, 0), (None, None)));
    }
}

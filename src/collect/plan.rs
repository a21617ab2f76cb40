//! What goes, in which order: a pure value of what there is and what the user wants.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::facts::{Facts, Keep, Kind, Place, Unit};
use super::policy::Policy;
use super::usage::Usage;

/// What goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What goes in the words of people, in the order in which it was chosen.
    pub removed: Vec<Removed>,
    /// What goes on disk: records first, then trees, the uppermost first, then the rest.
    pub places: Vec<Place>,
    /// Bytes that are free then.
    pub freed: u64,
    /// Bytes that are left.
    pub left: u64,
}

/// A unit that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// What it was.
    pub kind: Kind,
    /// Its id.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// Bytes that go with it, those of what lay below and nobody else needs among them.
    pub freed: u64,
}

/// A unit with what it takes.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The unit; what belongs to none is in a last row without.
    pub unit: Option<&'a Unit>,
    /// Bytes that it takes.
    pub bytes: u64,
    /// How many of them others have too.
    pub shared: u64,
    /// When it, or something that lies on it, was last used, in seconds since 1970.
    pub used: i64,
}

/// Plans what goes.
pub fn plan(facts: &Facts, policy: &Policy) -> Plan {
    let mut sweep = Sweep::new(facts);
    let used = Used::of(facts);
    if policy.filters.is_empty() {
        (0..facts.units.len()).filter(|at| facts.units[*at].keep == Keep::Gone).for_each(|at| sweep.drop(at));
    }
    if policy.is_wish() {
        let may_go = |unit: &Unit| match unit.keep {
            Keep::Tag => false,
            Keep::Lock => policy.all,
            Keep::Cache | Keep::Gone => true,
        };
        let mut candidates: Vec<usize> = (0..facts.units.len())
            .filter(|at| {
                let unit = &facts.units[*at];
                may_go(unit) && policy.takes(unit) && policy.before.is_none_or(|time| used.unit(unit) < time)
            })
            .collect();
        let depths = Depths::of(facts);
        candidates.sort_by_key(|at| {
            let unit = &facts.units[*at];
            (used.unit(unit), Reverse(depths.unit(unit)), unit.kind, &unit.id)
        });
        for at in candidates {
            if policy.keep_bytes.is_some_and(|bound| sweep.total <= bound) {
                break;
            }
            sweep.drop(at);
        }
    }
    sweep.finish(policy)
}

/// Returns what there is, the largest first, and the bytes that all of it takes.
pub fn rows(facts: &Facts) -> (Vec<Row<'_>>, u64) {
    let used = Used::of(facts);
    let mut owners = BTreeMap::<&Place, usize>::new();
    let places: Vec<Vec<Place>> = facts.units.iter().map(places).collect();
    for place in places.iter().flatten() {
        *owners.entry(place).or_default() += 1;
    }
    let usage = &facts.usage;
    let mut rows: Vec<Row<'_>> = facts
        .units
        .iter()
        .zip(&places)
        .map(|(unit, places)| {
            let (bytes, _) = usage.of(places);
            let (own, own_shared) = usage.of(places.iter().filter(|place| owners[place] == 1));
            Row { unit: Some(unit), bytes, shared: bytes - (own - own_shared), used: used.unit(unit) }
        })
        .collect();
    rows.sort_by_key(|row| Reverse(row.bytes));
    let (bytes, shared) = usage.of(usage.places().filter(|place| !owners.contains_key(place)));
    rows.push(Row { unit: None, bytes, shared, used: 0 });
    (rows, usage.total())
}

/// Returns all that a unit is on disk.
fn places(unit: &Unit) -> Vec<Place> {
    unit.entries.iter().cloned().chain(unit.trees.iter().cloned().map(Place::Snapshot)).collect()
}

/// Last use of trees: of whatever lies on them, too.
struct Used<'a>(BTreeMap<&'a str, i64>);

impl<'a> Used<'a> {
    fn of(facts: &'a Facts) -> Self {
        let mut used = BTreeMap::<&str, i64>::new();
        for unit in &facts.units {
            for id in facts.closure(&unit.trees) {
                let (id, _) = facts.trees.get_key_value(&id).expect("closures hold trees that exist");
                let last = used.entry(id).or_insert(unit.used);
                *last = unit.used.max(*last);
            }
        }
        Self(used)
    }

    fn unit(&self, unit: &Unit) -> i64 {
        let trees = unit.trees.iter().filter_map(|id| self.0.get(id.as_str()));
        trees.copied().chain([unit.used]).max().unwrap_or(0)
    }
}

/// How high trees lie over the lowest.
struct Depths(BTreeMap<String, usize>);

impl Depths {
    fn of(facts: &Facts) -> Self {
        // What lies on another has all of that one's below it, and that one.
        Self(facts.trees.keys().map(|id| (id.clone(), facts.closure(std::slice::from_ref(id)).len())).collect())
    }

    fn unit(&self, unit: &Unit) -> usize {
        unit.trees.iter().filter_map(|id| self.0.get(id)).max().copied().unwrap_or(0)
    }
}

/// A plan in the making.
struct Sweep<'a> {
    facts: &'a Facts,
    usage: Usage,
    total: u64,
    /// How many units that stay need each tree.
    needed: BTreeMap<String, usize>,
    dropped: BTreeSet<usize>,
    plan: Plan,
}

impl<'a> Sweep<'a> {
    fn new(facts: &'a Facts) -> Self {
        let mut needed = BTreeMap::new();
        for id in facts.units.iter().flat_map(|unit| facts.closure(&unit.trees)) {
            *needed.entry(id).or_default() += 1;
        }
        let usage = facts.usage.clone();
        let total = usage.total();
        Self { facts, usage, total, needed, dropped: BTreeSet::new(), plan: Plan::default() }
    }

    /// Lets a unit go, and the trees that nobody needs then.
    fn drop(&mut self, at: usize) {
        if !self.dropped.insert(at) {
            return;
        }
        let unit = &self.facts.units[at];
        let mut gone = unit.entries.clone();
        for id in self.facts.closure(&unit.trees) {
            let needed = self.needed.get_mut(&id).expect("counted at the beginning");
            *needed -= 1;
            if *needed == 0 {
                gone.push(Place::Snapshot(id));
            }
        }
        let freed = self.remove(&gone);
        if !gone.is_empty() {
            self.plan.removed.push(Removed { kind: unit.kind, id: unit.id.clone(), name: unit.name.clone(), freed });
        }
    }

    fn remove(&mut self, places: &[Place]) -> u64 {
        let freed: u64 = places.iter().map(|place| self.usage.remove(place)).sum();
        self.total -= freed;
        self.plan.freed += freed;
        self.plan.places.extend_from_slice(places);
        freed
    }

    /// Lets go what belongs to steps that are gone, and puts everything in order.
    fn finish(mut self, policy: &Policy) -> Plan {
        let units = || self.facts.units.iter().enumerate();
        let steps = || units().filter(|(_, unit)| unit.kind == Kind::Step);
        let keys: BTreeSet<&str> = steps()
            .filter(|(at, _)| self.dropped.contains(at))
            .flat_map(|(_, unit)| &unit.entries)
            .filter_map(|place| if let Place::Entry(_, key) = place { Some(key.as_str()) } else { None })
            .collect();
        let logs: Vec<usize> = units()
            .filter(|(_, unit)| unit.kind == Kind::Log && keys.contains(unit.id.as_str()))
            .map(|(at, _)| at)
            .collect();
        let names = |dropped: bool| -> BTreeSet<&str> {
            let chosen = steps().filter(|(at, _)| self.dropped.contains(at) == dropped);
            chosen.map(|(_, unit)| unit.name.as_str()).collect()
        };
        let (left, gone) = (names(false), names(true));
        let notes: Vec<Place> = (self.facts.notes.iter())
            .filter(|(_, name)| {
                let name = name.as_str();
                !left.contains(name) && (policy.filters.is_empty() || gone.contains(name))
            })
            .map(|(key, _)| Place::Entry("parts", key.clone()))
            .collect();
        for at in logs {
            self.drop(at);
        }
        self.remove(&notes);
        let depths = Depths::of(self.facts);
        let mut plan = self.plan;
        plan.places.sort_by_key(|place| match place {
            Place::Entry("cache" | "parts", _) => (0, Reverse(0), place.clone()),
            Place::Snapshot(id) => (1, Reverse(depths.0.get(id).copied().unwrap_or(0)), place.clone()),
            Place::Entry(..) => (2, Reverse(0), place.clone()),
        });
        plan.left = self.total;
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::{Tree, size};

    /// An image with two steps over it, one after the other, and a blob under a tag.
    fn facts() -> Facts {
        let mut facts = Facts::default();
        let mut unit = |kind, id: &str, used, keep, entry: Option<&'static str>, tree: bool, bytes| {
            let entries: Vec<Place> = entry.map(|room| Place::Entry(room, id.to_owned())).into_iter().collect();
            let trees: Vec<String> = tree.then(|| format!("t-{id}")).into_iter().collect();
            let unit = Unit { kind, id: id.to_owned(), name: id.to_owned(), used, keep, entries, trees };
            facts.usage.add(&places(&unit)[usize::from(tree && entry.is_some())], (0, 0), bytes, 1);
            facts.units.push(unit);
        };
        unit(Kind::Image, "image", 1, Keep::Cache, None, true, 1000);
        unit(Kind::Step, "one", 20, Keep::Cache, Some("cache"), true, 100);
        unit(Kind::Step, "two", 30, Keep::Cache, Some("cache"), true, 10);
        unit(Kind::Log, "one", 20, Keep::Cache, Some("logs"), false, 5);
        unit(Kind::Blob, "tagged", 0, Keep::Tag, Some("blobs/sha256"), false, 1);
        unit(Kind::Blob, "locked", 0, Keep::Lock, Some("blobs/sha256"), false, 2);
        unit(Kind::Blob, "loose", 5, Keep::Cache, Some("blobs/sha256"), false, 3);
        let below = |ids: &[&str]| Tree { below: ids.iter().map(|id| format!("t-{id}")).collect() };
        facts.trees.insert("t-image".to_owned(), below(&[]));
        facts.trees.insert("t-one".to_owned(), below(&["image"]));
        facts.trees.insert("t-two".to_owned(), below(&["image", "one"]));
        facts.notes = [("n1".to_owned(), "one".to_owned()), ("n0".to_owned(), "nobody".to_owned())].into();
        facts
    }

    fn removed(plan: &Plan) -> Vec<&str> {
        plan.removed.iter().map(|removed| removed.id.as_str()).collect()
    }

    fn snapshots(plan: &Plan) -> Vec<&str> {
        let ids = plan.places.iter().filter_map(|place| match place {
            Place::Snapshot(id) => Some(id.as_str()),
            Place::Entry(..) => None,
        });
        ids.collect()
    }

    #[test]
    fn without_a_wish_only_what_nothing_can_use_goes() {
        let mut facts = facts();
        let nothing = plan(&facts, &Policy::default());
        assert_eq!((nothing.removed.len(), nothing.freed, nothing.left), (0, 0, 1121));
        assert_eq!(nothing.places, [Place::Entry("parts", "n0".to_owned())]);
        // A tree that nothing finds stays as long as something lies on it.
        facts.units[1] = Unit { keep: Keep::Gone, kind: Kind::Tree, entries: Vec::new(), ..facts.units[1].clone() };
        assert!(snapshots(&plan(&facts, &Policy::default())).is_empty());
        facts.units[2].keep = Keep::Gone;
        assert_eq!(snapshots(&plan(&facts, &Policy::default())), ["t-two", "t-one"]);
    }

    #[test]
    fn everything_but_tags_goes_records_first_and_trees_from_the_top() {
        let all = plan(&facts(), &Policy { all: true, ..Policy::default() });
        assert_eq!(all.left, 1);
        assert_eq!(snapshots(&all), ["t-two", "t-one", "t-image"]);
        let first_tree = all.places.iter().position(|place| matches!(place, Place::Snapshot(_))).expect("trees");
        let last_record = all.places.iter().rposition(|place| matches!(place, Place::Entry("cache", _)));
        assert!(last_record.expect("records") < first_tree, "{all:?}");
    }

    #[test]
    fn a_bound_is_met_by_what_was_used_least_recently() {
        let bounded = |keep| plan(&facts(), &Policy { keep_bytes: Some(keep), ..Policy::default() });
        assert_eq!(removed(&bounded(1120)), ["loose"]);
        // The image is as young as what lies on it, and what lies on a step keeps its tree.
        assert_eq!(removed(&bounded(1115)), ["loose", "one"]);
        assert!(snapshots(&bounded(1115)).is_empty());
        assert_eq!(bounded(0).left, 3, "tags and locks stay");
    }

    #[test]
    fn what_is_older_goes_and_filters_choose() {
        let before = |time| plan(&facts(), &Policy { before: Some(time), ..Policy::default() });
        assert_eq!(removed(&before(5)), Vec::<&str>::new());
        assert_eq!(removed(&before(6)), ["loose"]);
        assert_eq!(removed(&before(31)).len(), 5);
        let filtered = |text: &str| {
            let filters = vec![text.parse().expect("a filter")];
            plan(&facts(), &Policy { filters, ..Policy::default() })
        };
        assert_eq!(removed(&filtered("type=log")), ["one"]);
        assert_eq!(removed(&filtered("type=image")), Vec::<&str>::new(), "steps lie on it");
        assert_eq!(removed(&filtered("type=step,name=two")), ["two"]);
        assert_eq!(removed(&filtered("type=blob")), ["loose"]);
        // With a step go its log and what was noted of it.
        let one = filtered("type=step,id=on");
        assert_eq!(removed(&one), ["one", "one"]);
        assert!(one.places.contains(&Place::Entry("parts", "n1".to_owned())));
    }

    #[test]
    fn files_with_several_names_count_once_and_go_with_the_last() {
        let mut usage = Usage::default();
        let place = |name: &str| Place::Entry("x", name.to_owned());
        for name in ["a", "b"] {
            usage.add(&place(name), (1, 1), 100, 2);
        }
        usage.add(&place("b"), (1, 2), 50, 2);
        assert_eq!((usage.total(), usage.of([&place("a")]), usage.of([&place("b")])), (150, (100, 100), (150, 150)));
        assert_eq!(usage.of([&place("a"), &place("b")]), (150, 50), "one name is elsewhere");
        assert_eq!((usage.remove(&place("a")), usage.remove(&place("b"))), (0, 100));
        assert_eq!(size("50"), Ok(usage.total()), "still there, under its name elsewhere");
    }
}

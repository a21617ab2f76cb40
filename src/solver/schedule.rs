//! Which vertex next: a pure value, told what is done.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::llb::{Graph, pb};
use crate::oci::Digest;

/// The order of work: a vertex is ready when its inputs are done; of the ready ones the longest way to the end first.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    missing: BTreeMap<Digest, usize>,
    users: BTreeMap<Digest, Vec<Digest>>,
    height: BTreeMap<Digest, u64>,
    steps: BTreeSet<Digest>,
    ready: BTreeSet<(Reverse<u64>, Digest)>,
    left: usize,
}

impl Schedule {
    /// Plans `graph`; `cost` estimates one vertex in seconds.
    pub(crate) fn new(graph: &Graph, cost: impl Fn(&crate::llb::Vertex) -> u64) -> Self {
        let mut schedule = Self {
            missing: BTreeMap::new(),
            users: BTreeMap::new(),
            height: BTreeMap::new(),
            steps: BTreeSet::new(),
            ready: BTreeSet::new(),
            left: graph.len(),
        };
        let vertices: Vec<_> = graph.vertices().collect();
        for vertex in &vertices {
            let inputs: BTreeSet<Digest> = vertex.inputs.iter().map(|edge| edge.vertex).collect();
            schedule.missing.insert(vertex.digest, inputs.len());
            for input in inputs {
                schedule.users.entry(input).or_default().push(vertex.digest);
            }
            if matches!(vertex.op, pb::op::Op::Exec(_)) {
                schedule.steps.insert(vertex.digest);
            }
        }
        // Users come after their inputs, so walking backwards sees every user's height first.
        for vertex in vertices.iter().rev() {
            let above = schedule.users.get(&vertex.digest).into_iter().flatten();
            let above = above.filter_map(|user| schedule.height.get(user)).max().copied().unwrap_or(0);
            schedule.height.insert(vertex.digest, above.saturating_add(cost(vertex)));
        }
        for vertex in vertices.iter().filter(|vertex| vertex.inputs.is_empty()) {
            schedule.ready.insert((Reverse(schedule.height[&vertex.digest]), vertex.digest));
        }
        schedule
    }

    /// Takes the next ready vertex; steps only if `steps` says that one more may run.
    pub(crate) fn next(&mut self, steps: bool) -> Option<Digest> {
        let found = self.ready.iter().find(|(_, digest)| steps || !self.steps.contains(digest)).copied()?;
        self.ready.remove(&found);
        Some(found.1)
    }

    /// Tells whether a vertex runs a program.
    pub(crate) fn is_step(&self, vertex: &Digest) -> bool {
        self.steps.contains(vertex)
    }

    /// Marks a vertex as done, which may make its users ready.
    pub(crate) fn done(&mut self, vertex: &Digest) {
        self.left -= 1;
        for user in self.users.get(vertex).cloned().unwrap_or_default() {
            let missing = self.missing.get_mut(&user).expect("users are vertices");
            *missing -= 1;
            if *missing == 0 {
                self.ready.insert((Reverse(self.height[&user]), user));
            }
        }
    }

    /// Tells whether nothing is left.
    pub(crate) const fn is_finished(&self) -> bool {
        self.left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llb::{GraphBuilder, op};
    use crate::oci::Arch;

    #[test]
    fn inputs_come_first_and_the_long_way_before_the_short() {
        let mut builder = GraphBuilder::new();
        let mut blob =
            |name: &str| builder.add(name, op::blob("s", &Digest::of(name.as_bytes()), name), &[], Arch::X86_64, &[]);
        let (short, long) = (blob("short"), blob("long"));
        let middle = builder.add("middle", op::merge(1), &[long], Arch::X86_64, &[]);
        let end = builder.add("end", op::merge(2), &[short, middle], Arch::X86_64, &[]);
        let mut schedule = Schedule::new(&builder.finish(end), |_| 1);
        assert_eq!(schedule.next(true), Some(long.vertex));
        assert_eq!(schedule.next(true), Some(short.vertex));
        assert_eq!(schedule.next(true), None);
        schedule.done(&long.vertex);
        assert_eq!(schedule.next(true), Some(middle.vertex));
        schedule.done(&short.vertex);
        assert_eq!(schedule.next(true), None);
        schedule.done(&middle.vertex);
        assert_eq!(schedule.next(true), Some(end.vertex));
        assert!(!schedule.is_finished());
        schedule.done(&end.vertex);
        assert!(schedule.is_finished());
    }
}

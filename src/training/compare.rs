//! What one training counted otherwise than another.

use super::{Counts, Function};

/// A function's part of all counts has to change by this factor before it counts as moved; two runs of the same load
/// stay well below.
const MOVED: f64 = 2.0;

/// What is otherwise in newer counts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Difference {
    /// The older level of optimisation and the newer one, where they differ.
    pub levels: Option<[String; 2]>,
    /// Objects that only the newer counts have.
    pub objects_new: Vec<String>,
    /// Objects that only the older counts have.
    pub objects_gone: Vec<String>,
    /// Functions that only the newer counts have.
    pub functions_new: u64,
    /// Functions that only the older counts have.
    pub functions_gone: u64,
    /// Functions with another flow graph: older counts do not fit them.
    pub reshaped: u64,
    /// Functions that ran in one of the two only.
    pub awakened: u64,
    /// Functions that ran in both, and whose part of all counts at least doubled or halved.
    pub moved: u64,
    /// Functions with nothing of that.
    pub alike: u64,
    /// Objects by how much their part of all counts changed, the largest change first.
    pub shifts: Vec<Shift>,
}

/// An object's part of all counts, between 0 and 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Shift {
    /// The object, without ending: `Objects/dictobject`.
    pub object: String,
    /// Before.
    pub old: f64,
    /// Now.
    pub new: f64,
}

impl Difference {
    /// Compares two trainings.
    pub fn between(old: &Counts, new: &Counts) -> Self {
        let levels = (old.level != new.level).then(|| [old.level.clone(), new.level.clone()]);
        let mut found = Self { levels, ..Self::default() };
        let (whole_old, whole_new) = (old.totals().count, new.totals().count);
        for (object, functions) in &new.objects {
            let Some(before) = old.objects.get(object) else {
                found.objects_new.push(object.clone());
                found.functions_new += functions.len() as u64;
                continue;
            };
            found.functions_gone += before.keys().filter(|ident| !functions.contains_key(ident)).count() as u64;
            for (ident, now) in functions {
                *match before.get(ident) {
                    None => &mut found.functions_new,
                    Some(then) if then.shape != now.shape => &mut found.reshaped,
                    Some(then) if (then.count == 0) != (now.count == 0) => &mut found.awakened,
                    Some(then) if has_moved(part(then.count, whole_old), part(now.count, whole_new)) => {
                        &mut found.moved
                    }
                    Some(_) => &mut found.alike,
                } += 1;
            }
            let sum = |functions: &mut dyn Iterator<Item = &Function>| {
                functions.map(|f| f.count).fold(0, u64::saturating_add)
            };
            found.shifts.push(Shift {
                object: object.clone(),
                old: part(sum(&mut before.values()), whole_old),
                new: part(sum(&mut functions.values()), whole_new),
            });
        }
        for (object, functions) in old.objects.iter().filter(|(object, _)| !new.objects.contains_key(*object)) {
            found.objects_gone.push(object.clone());
            found.functions_gone += functions.len() as u64;
        }
        let change = |shift: &Shift| (shift.new - shift.old).abs();
        found.shifts.sort_by(|a, b| change(b).total_cmp(&change(a)).then_with(|| a.object.cmp(&b.object)));
        found
    }
}

fn has_moved(then: f64, now: f64) -> bool {
    then > now * MOVED || now > then * MOVED
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
fn part(count: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { count as f64 / whole as f64 }
}

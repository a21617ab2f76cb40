//! Files with holes in archives (GNU tar manual, "Storing Sparse Files"): where their content belongs.

/// One stretch of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Region {
    /// Where it begins in the file.
    pub(super) offset: u64,
    /// Its bytes.
    pub(super) length: u64,
}

/// Most regions of one file: 4 MiB of memory.
pub(super) const MOST_REGIONS: usize = 1 << 18;

/// Reads `count` pairs of an old GNU header's fields, each twelve octal digits; an empty pair ends them.
pub(super) fn old_regions(
    bytes: &[u8],
    count: usize,
    number: impl Fn(&[u8]) -> Option<u64>,
) -> Result<Vec<Region>, &'static str> {
    let mut regions = Vec::new();
    for pair in bytes.chunks(24).take(count) {
        if pair[12] == 0 {
            break;
        }
        let read = |field| number(field).ok_or("a sparse map holds no number");
        regions.push(Region { offset: read(&pair[..12])?, length: read(&pair[12..24])? });
    }
    Ok(regions)
}

/// Checks that regions follow one another inside a file of `size` bytes, and hold `stored` bytes together.
pub(super) fn check(regions: &[Region], size: u64, stored: u64) -> Result<(), &'static str> {
    let mut end = 0;
    let mut sum = 0;
    for region in regions {
        if region.offset < end {
            return Err("the regions of a sparse file overlap");
        }
        end = region.offset.checked_add(region.length).ok_or("a region of a sparse file has no end")?;
        sum += region.length;
    }
    if end > size {
        return Err("a region of a sparse file is behind its end");
    }
    if sum == stored { Ok(()) } else { Err("the regions of a sparse file are not what is stored of it") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_that_lie_are_refused() {
        let region = |offset, length| Region { offset, length };
        assert_eq!(check(&[region(0, 4), region(10, 2), region(20, 0)], 20, 6), Ok(()));
        for (regions, size, stored) in [
            (vec![region(4, 4), region(0, 2)], 20, 6),
            (vec![region(0, 4), region(3, 2)], 20, 6),
            (vec![region(18, 4)], 20, 4),
            (vec![region(u64::MAX, 4)], 20, 4),
            (vec![region(0, 4)], 20, 5),
        ] {
            assert!(check(&regions, size, stored).is_err(), "{regions:?}");
        }
    }
}

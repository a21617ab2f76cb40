//! The ELF gate: what every program, library and extension module of a release must be.
//!
//! Nothing of the host's libc may be needed, nothing may be writable and executable, and relocations are read-only once
//! the program runs (`elf(5)`, `ld(1) -z`). Programs have no `PT_INTERP`: their entry stub maps the tree's own libc.

use object::Endianness;
use object::elf;
use object::read::elf::{Dyn as _, FileHeader, ProgramHeader as _, SectionHeader as _};

use crate::oci::Arch;

/// The only library that may be needed.
const LIBC: &[u8] = b"libc.so";

/// What a file is to this gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Not an ELF file.
    Other,
    /// An ELF file of one of our architectures.
    Ours(Arch),
    /// An ELF file of another machine.
    Foreign,
}

/// Tells what a file is by its header.
pub(crate) fn kind(bytes: &[u8]) -> Kind {
    if !bytes.starts_with(&elf::ELFMAG) {
        return Kind::Other;
    }
    let machine = bytes.get(18..20).map(|m| u16::from_le_bytes([m[0], m[1]]));
    match (bytes.get(4), machine) {
        (Some(&elf::ELFCLASS64), Some(elf::EM_X86_64)) => Kind::Ours(Arch::X86_64),
        (Some(&elf::ELFCLASS32), Some(elf::EM_386)) => Kind::Ours(Arch::X86),
        _ => Kind::Foreign,
    }
}

/// What an ELF file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The tree's own C library, which is its dynamic loader too.
    Libc,
    /// Symbols and lines of the interpreter, for debuggers (`bin/.debug/`): never run.
    Debug,
    /// Everything else.
    Ordinary,
}

/// Returns what is wrong with an ELF file; nothing when it may ship.
pub(crate) fn faults(bytes: &[u8], arch: Arch, role: Role) -> Vec<String> {
    let found = match arch {
        Arch::X86_64 => check::<elf::FileHeader64<Endianness>>(bytes, role),
        Arch::X86 => check::<elf::FileHeader32<Endianness>>(bytes, role),
    };
    found.unwrap_or_else(|error| vec![format!("not a sound ELF file: {error}")])
}

fn check<E: FileHeader<Endian = Endianness>>(bytes: &[u8], role: Role) -> object::Result<Vec<String>> {
    let header = E::parse(bytes)?;
    let endian = header.endian()?;
    let mut faults = Vec::new();
    let kind = header.e_type(endian);
    // Objects and static archives' members have no segments; a release ships none that matter here.
    if kind != elf::ET_EXEC && kind != elf::ET_DYN {
        return Ok(faults);
    }
    if role == Role::Debug {
        return debug_faults(header, endian, bytes);
    }
    let segments = header.program_headers(endian, bytes)?;
    let (mut stack, mut relro, mut dynamic) = (false, false, false);
    let entry: u64 = header.e_entry(endian).into();
    // A library has none; a program that starts outside its code would die at once.
    let mut starts_in_code = entry == 0;
    for segment in segments {
        let flags = segment.p_flags(endian);
        let start: u64 = segment.p_vaddr(endian).into();
        let end = start.saturating_add(segment.p_filesz(endian).into());
        if segment.p_type(endian) == elf::PT_LOAD && flags & elf::PF_X != 0 {
            starts_in_code |= (start..end).contains(&entry);
        }
        match segment.p_type(endian) {
            elf::PT_INTERP => faults.push("has PT_INTERP: depends on the host's loader".to_owned()),
            elf::PT_LOAD if flags & elf::PF_W != 0 && flags & elf::PF_X != 0 => {
                faults.push("has a segment that is writable and executable".to_owned());
            }
            elf::PT_GNU_STACK => {
                stack = true;
                if flags & elf::PF_X != 0 {
                    faults.push("has an executable stack".to_owned());
                }
            }
            elf::PT_GNU_RELRO => relro = true,
            elf::PT_DYNAMIC => dynamic = true,
            _ => {}
        }
    }
    if !stack {
        faults.push("has no PT_GNU_STACK: the kernel may make the stack executable".to_owned());
    }
    if !starts_in_code {
        faults.push(format!("starts at {entry:#x}, where it has no code"));
    }
    if dynamic {
        if !relro {
            faults.push("has no RELRO".to_owned());
        }
        dynamic_faults::<E>(header, endian, bytes, role, &mut faults)?;
    } else if role == Role::Libc {
        faults.push("is no shared library".to_owned());
    }
    Ok(faults)
}

/// A debug file has the sections of its program without their content, and what debuggers want.
fn debug_faults<E: FileHeader<Endian = Endianness>>(
    header: &E,
    endian: Endianness,
    bytes: &[u8],
) -> object::Result<Vec<String>> {
    let sections = header.sections(endian, bytes)?;
    let mut faults = Vec::new();
    let code = |section: &E::SectionHeader| {
        let flags: u64 = section.sh_flags(endian).into();
        flags & u64::from(elf::SHF_EXECINSTR) != 0 && section.sh_type(endian) != elf::SHT_NOBITS
    };
    if sections.iter().any(code) {
        faults.push("has code: it is a program, not what a debugger wants to know of one".to_owned());
    }
    if sections.section_by_name(endian, b".debug_line").is_none() {
        faults.push("has no .debug_line: no lines for a debugger".to_owned());
    }
    Ok(faults)
}

fn dynamic_faults<E: FileHeader<Endian = Endianness>>(
    header: &E,
    endian: Endianness,
    bytes: &[u8],
    role: Role,
    faults: &mut Vec<String>,
) -> object::Result<()> {
    let segments = header.program_headers(endian, bytes)?;
    let Some(entries) = segments.iter().find_map(|s| s.dynamic(endian, bytes).transpose()).transpose()? else {
        return Ok(());
    };
    let value = |tag: u32| {
        let found = entries.iter().find(|entry| entry.d_tag(endian).into() == u64::from(tag));
        found.map(|entry| entry.d_val(endian).into())
    };
    let flags = value(elf::DT_FLAGS).unwrap_or(0);
    let flags_1 = value(elf::DT_FLAGS_1).unwrap_or(0);
    let now = flags & u64::from(elf::DF_BIND_NOW) != 0 || flags_1 & u64::from(elf::DF_1_NOW) != 0;
    // musl binds everything at once whatever a file says, itself first: `ld -z now` would change nothing in it.
    if !now && role == Role::Ordinary && value(elf::DT_BIND_NOW).is_none() {
        faults.push("binds lazily: no BIND_NOW".to_owned());
    }
    if value(elf::DT_TEXTREL).is_some() || flags & u64::from(elf::DF_TEXTREL) != 0 {
        faults.push("has text relocations".to_owned());
    }
    for (tag, name) in [(elf::DT_RPATH, "RPATH"), (elf::DT_RUNPATH, "RUNPATH")] {
        if value(tag).is_some() {
            faults.push(format!("has {name}"));
        }
    }
    let sections = header.sections(endian, bytes)?;
    let Some((_, index)) = sections.dynamic(endian, bytes)? else {
        // Stripped of sections: the names cannot be checked, so the file cannot pass.
        faults.push("has no .dynamic section: cannot tell what it needs".to_owned());
        return Ok(());
    };
    let strings = sections.strings(endian, bytes, index)?;
    for entry in entries.iter().filter(|entry| entry.d_tag(endian).into() == u64::from(elf::DT_NEEDED)) {
        let name = u32::try_from(entry.d_val(endian).into()).ok().and_then(|at| strings.get(at).ok()).unwrap_or(b"?");
        if name != LIBC || role == Role::Libc {
            faults.push(format!("needs {}", String::from_utf8_lossy(name)));
        }
    }
    Ok(())
}

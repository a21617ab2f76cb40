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
    /// What is in `bin/`: it must begin with the entry stub.
    Program,
    /// Everything else.
    Ordinary,
}

/// The first instructions of `dockless_entry` (`scripts/cpython/entry.c`). They are assembly, so no compiler changes them;
/// symbols would tell, too, but a release is stripped of them.
const ENTRY_STUBS: [&[u8]; 2] = [
    // xor %ebp,%ebp; mov %rsp,%rbx; mov %rdx,%r12; mov %rsp,%rdi; and $-16,%rsp; call
    &[0x31, 0xed, 0x48, 0x89, 0xe3, 0x49, 0x89, 0xd4, 0x48, 0x89, 0xe7, 0x48, 0x83, 0xe4, 0xf0, 0xe8],
    // xor %ebp,%ebp; mov %esp,%ebx; mov %edx,%esi; and $-16,%esp; sub $12,%esp; push %ebx; call
    &[0x31, 0xed, 0x89, 0xe3, 0x89, 0xd6, 0x83, 0xe4, 0xf0, 0x83, 0xec, 0x0c, 0x53, 0xe8],
];

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
    let (mut stack, mut relro, mut dynamic, mut stub) = (false, false, false, false);
    let entry: u64 = header.e_entry(endian).into();
    // A library has none; a program that starts outside its code would die at once.
    let mut starts_in_code = entry == 0;
    for segment in segments {
        let flags = segment.p_flags(endian);
        let start: u64 = segment.p_vaddr(endian).into();
        let end = start.saturating_add(segment.p_filesz(endian).into());
        if segment.p_type(endian) == elf::PT_LOAD && flags & elf::PF_X != 0 && (start..end).contains(&entry) {
            starts_in_code = true;
            let code = segment.data(endian, bytes).unwrap_or_default();
            let code = usize::try_from(entry - start).ok().and_then(|at| code.get(at..)).unwrap_or_default();
            stub = ENTRY_STUBS.iter().any(|stub| code.starts_with(stub));
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
    if role == Role::Program && !stub {
        faults.push(format!("has no entry stub at {entry:#x}: it would die at once"));
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
    if !now && role != Role::Libc && value(elf::DT_BIND_NOW).is_none() {
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

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: usize = 0x300;

    /// A program with the entry stub that may ship: headers, one segment, a dynamic section that needs `needed`.
    fn program(needed: &str, tags: &[(u64, u64)]) -> Vec<u8> {
        let mut bytes = vec![0_u8; 0x400];
        let mut put = |at: usize, value: u64, size: usize| {
            bytes[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
        };
        put(0, 0x0001_0102_464c_457f, 8);
        put(16, 0x0001_003e_0002, 8); // ET_EXEC, EM_X86_64, version 1
        put(24, ENTRY as u64, 8);
        put(32, 64, 8); // program headers
        put(40, 0x180, 8); // section headers
        put(52, 0x0004_0038_0040, 8); // sizes of headers: file, program; 4 program headers
        put(58, 0x0001_0003_0040, 6); // size and number of section headers, and which holds names
        let dynamic = tags.len() + 4;
        let segments =
            [(1, 5, 0, 0x400), (2, 6, 0x240, dynamic * 16), (0x6474_e551, 6, 0, 0), (0x6474_e552, 4, 0x240, 16)];
        for (header, (kind, flags, at, size)) in segments.into_iter().enumerate() {
            let header = 64 + header * 56;
            put(header, kind | flags << 32, 8);
            for field in [8, 16, 24] {
                put(header + field, at, 8);
            }
            put(header + 32, size as u64, 8);
            put(header + 40, size as u64, 8);
        }
        // Sections: none, .dynstr, .dynamic linked to it.
        for (section, (kind, at, size, link)) in
            [(3_u64, 0x3c0_u64, 0x40_u64, 0_u64), (6, 0x240, dynamic as u64 * 16, 1)].into_iter().enumerate()
        {
            let section = 0x180 + (section + 1) * 64;
            for (field, value) in [(4, kind), (24, at), (32, size), (40, link)] {
                put(section + field, value, if field == 4 || field == 40 { 4 } else { 8 });
            }
        }
        let first = [(1, 1), (5, 0x3c0), (10, 0x40)]; // NEEDED, STRTAB, STRSZ
        for (entry, (tag, value)) in first.iter().chain(tags).enumerate() {
            put(0x240 + entry * 16, *tag, 8);
            put(0x248 + entry * 16, *value, 8);
        }
        bytes[ENTRY..ENTRY + 16].copy_from_slice(ENTRY_STUBS[0]);
        bytes[0x3c1..0x3c1 + needed.len()].copy_from_slice(needed.as_bytes());
        bytes
    }

    const NOW: (u64, u64) = (30, 8); // DT_FLAGS, DF_BIND_NOW

    fn told(bytes: &[u8]) -> String {
        faults(bytes, Arch::X86_64, Role::Program).join("\n")
    }

    #[test]
    fn a_program_that_is_as_it_must_be_has_no_fault() {
        assert_eq!(told(&program("libc.so", &[NOW])), "");
    }

    #[test]
    fn what_a_dynamic_section_may_not_say_is_refused_by_name() {
        for (needed, tags, fault) in [
            ("libm.so.6", &[NOW][..], "needs libm.so.6"),
            ("libc.so", &[], "no BIND_NOW"),
            ("libc.so", &[NOW, (15, 1)], "has RPATH"),
            ("libc.so", &[NOW, (29, 1)], "has RUNPATH"),
            ("libc.so", &[NOW, (22, 0)], "text relocations"),
            ("libc.so", &[(30, 12)], "text relocations"),
        ] {
            let found = told(&program(needed, tags));
            assert!(found.contains(fault) && !found.contains('\n'), "{fault}: {found}");
        }
    }

    #[test]
    fn a_program_without_its_entry_stub_is_refused() {
        let mut bytes = program("libc.so", &[NOW]);
        bytes[ENTRY] = 0x90;
        assert!(told(&bytes).contains("has no entry stub at 0x300"), "{}", told(&bytes));
        let library = faults(&bytes, Arch::X86_64, Role::Ordinary);
        assert!(library.is_empty(), "only programs have one: {library:?}");
    }

    #[test]
    fn other_machines_are_told_apart() {
        let mut bytes = program("libc.so", &[NOW]);
        assert_eq!(kind(&bytes), Kind::Ours(Arch::X86_64));
        bytes[18] = 0xb7;
        assert_eq!(kind(&bytes), Kind::Foreign);
        assert_eq!(kind(b"#!/bin/sh"), Kind::Other);
    }
}

//! The animals: what each does and what must become of it. `docs/layers.md` shows the same table.

use super::tarball::{Head, Tarball, binary, gzip, octal, zstd};

/// What a path must be afterwards.
pub(super) enum Seen {
    File(&'static str),
    Link(&'static str),
    Directory,
    /// The device or FIFO itself, or a record of it.
    Node,
    Nothing,
}

pub(super) enum Must {
    /// The error says this.
    Refuse(&'static str),
    /// It unpacks below the root, to this.
    Contain(&'static [(&'static str, Seen)]),
}

pub(super) struct Animal {
    pub(super) name: &'static str,
    pub(super) does: &'static str,
    pub(super) layer: fn() -> Vec<u8>,
    pub(super) must: Must,
}

use Must::{Contain, Refuse};
use Seen::{Directory, File, Link, Node, Nothing};

macro_rules! animals {
    ($($name:literal, $does:literal, $layer:expr => $must:expr;)*) => {
        &[$(Animal { name: $name, does: $does, layer: || $layer, must: $must }),*]
    };
}

fn tar() -> Tarball {
    Tarball::default()
}

/// The root holds `lower/file`, `lower/dir/a`, `link` to `lower`, `out` to `../outside` and `secret` to
/// `../outside/secret` before. `outside` is beside it.
pub(super) const NAMES: &[Animal] = animals! {
    "parent", "`../outside/evil`", tar().file("../outside/evil", "x").end() => Refuse("climbs with `..`");
    "parent in the middle", "`a/../../outside/evil`", tar().file("a/../../outside/evil", "x").end() => Refuse("climbs");
    "parent by PAX", "a plain name, then `path=../outside/evil`",
        tar().pax(b'x', &[("path", b"../outside/evil")]).file("f", "x").end() => Refuse("climbs");
    "parent by GNU name", "a long name `../outside/evil`",
        tar().long_name("../outside/evil").file("f", "x").end() => Refuse("climbs");
    "absolute", "`/etc/passwd` and `//abs`", tar().file("/etc/passwd", "x").file("//abs", "y").end()
        => Contain(&[("etc/passwd", File("x")), ("abs", File("y"))]);
    "only dots", "a file called `...`", tar().file("...", "x").end() => Contain(&[("...", File("x"))]);
    "the root as a file", "a file called `.`", tar().file(".", "x").end() => Refuse("only a directory can be the root");
    "the root as a link", "a link called `./` to `../outside`", tar().symlink("./", "../outside").end()
        => Refuse("only a directory can be the root");
    "zero byte", "`path=a\\0b`", tar().pax(b'x', &[("path", b"a\0b")]).file("f", "x").end() => Refuse("zero byte");
    "newline", "a name with a line break", tar().file("a\nb", "x").end() => Contain(&[("a\nb", File("x"))]);
    "not UTF-8", "a name of bytes that are no text, below a directory", tar().raw(b"d/\xff\xfe", b"x").end()
        => Contain(&[("d", Directory)]);
    "long part", "a name of 256 bytes", tar().long_name(&"n".repeat(256)).file("f", "x").end() => Refuse("255 bytes");
    "deep", "300 directories", tar().long_name(&vec!["d"; 300].join("/")).file("f", "x").end() => Refuse("256 directories");
    "long name", "5000 bytes in a name", tar().long_name(&"n/".repeat(2500)).file("f", "x").end()
        => Refuse("4095 bytes in a name");
    "setuid", "a file of mode 6755",
        tar().head(&Head { name: b"su", mode: b"0006755\0", ..Head::default() }).end() => Contain(&[("su", File(""))]);
    "device", "character device 1:3 and block device 8:0", tar().node(b'3', "null", (1, 3)).node(b'4', "sda", (8, 0)).end()
        => Contain(&[("null", Node), ("sda", Node)]);
    "FIFO", "a FIFO", tar().node(b'6', "pipe", (0, 0)).end() => Contain(&[("pipe", Node)]);
    "whiteout of overlayfs", "character device 0:0 over a file of a lower layer",
        tar().node(b'3', "lower/file", (0, 0)).end() => Contain(&[("lower/file", Nothing)]);
    "unknown type", "an entry of type `D`", tar().head(&Head { kind: b'D', name: b"odd", ..Head::default() }).end()
        => Refuse("`odd` is refused: its type");
};

pub(super) const LINKS: &[Animal] = animals! {
    "link as parent", "a link to `../outside`, then a file below it",
        tar().symlink("l", "../outside").file("l/evil", "x").end() => Refuse("resolve");
    "link of a lower layer as parent", "a file below the link `out`", tar().file("out/evil", "x").end() => Refuse("resolve");
    "link to the root", "a link to `/`, then a file below it", tar().symlink("up", "/").file("up/evil", "x").end()
        => Contain(&[("evil", File("x"))]);
    "link up and up", "a link to `../../../..`, then a file below it",
        tar().directory("d").symlink("d/up", "../../../..").file("d/up/evil", "x").end() => Contain(&[("evil", File("x"))]);
    "loop", "two links to each other, then a file below", tar().symlink("a", "b").symlink("b", "a").file("a/f", "x").end()
        => Refuse("resolve");
    "magic link", "a link to `/proc/self/root`, then a file below it",
        tar().symlink("p", "/proc/self/root").file("p/evil", "x").end() => Refuse("resolve");
    "link becomes directory", "a link to `../outside`, a directory in its place, a file below",
        tar().symlink("l", "../outside").directory("l").file("l/f", "x").end() => Contain(&[("l/f", File("x"))]);
    "directory becomes link", "a directory, a link to `../outside` in its place, a file below",
        tar().directory("d").symlink("d", "../outside").file("d/evil", "x").end() => Refuse("resolve");
    "directory becomes link, at the end", "a directory of mode 755, then a link in its place",
        tar().directory("d").symlink("d", "../outside").end() => Contain(&[("d", Link("../outside"))]);
    "file over link", "a file where a lower layer has a link to the outside", tar().file("secret", "x").end()
        => Contain(&[("secret", File("x"))]);
    "FIFO over link", "a FIFO where a lower layer has a link to the outside", tar().node(b'6', "secret", (0, 0)).end()
        => Contain(&[("secret", Node)]);
    "link to nothing", "a link without a target", tar().symlink("l", "").end() => Refuse("link to nothing");
    "hard link outside", "a hard link to `../outside/secret`", tar().hard_link("evil", "../outside/secret").end()
        => Refuse("no file inside the tree");
    "hard link through a link", "a link to `../outside`, a hard link to a file below it",
        tar().symlink("l", "../outside").hard_link("evil", "l/secret").end() => Refuse("no file inside the tree");
    "hard link to a link", "a hard link to the link `secret`, then a file over it",
        tar().hard_link("evil", "secret").file("evil", "x").end() => Contain(&[("evil", File("x")), ("secret", Link("../outside/secret"))]);
    "hard link forward", "a hard link to a later entry", tar().hard_link("a", "b").file("b", "x").end()
        => Refuse("no file inside the tree");
    "hard link to a directory", "a hard link to `lower`", tar().hard_link("a", "lower").end() => Refuse("no file inside");
    "hard link into what it replaces", "a hard link `lower` to `lower/file`", tar().hard_link("lower", "lower/file").end()
        => Refuse("no file inside");
    "hard link to itself", "a hard link to its own name", tar().file("a", "x").hard_link("a", "./a").end()
        => Contain(&[("a", File("x"))]);
    "hard link downwards", "a hard link to a file of a lower layer, which is then whited out",
        tar().hard_link("new", "lower/file").file("lower/.wh.file", "").end()
        => Contain(&[("new", File("lower")), ("lower/file", Nothing)]);
    "whiteout of a new name", "a hard link to a file of a lower layer, then a whiteout of the link",
        tar().hard_link("new", "lower/file").file(".wh.new", "").end()
        => Contain(&[("new", File("lower")), ("lower/file", File("lower"))]);
};

pub(super) const WHITEOUTS: &[Animal] = animals! {
    "whiteout of the parent", "`lower/.wh...`", tar().file("lower/.wh...", "").end() => Refuse("whiteout of nothing");
    "whiteout of itself", "`.wh..`", tar().file(".wh..", "").end() => Refuse("whiteout of nothing");
    "whiteout without a name", "`.wh.`", tar().file(".wh.", "").end() => Refuse("whiteout of nothing");
    "file below a whiteout", "`.wh.lower/file`", tar().file(".wh.lower/file", "").end() => Refuse("below a whiteout");
    "whiteout outside", "`out/.wh.secret`", tar().file("out/.wh.secret", "").end() => Contain(&[("out", Link("../outside"))]);
    "opaque outside", "`out/.wh..wh..opq`", tar().file("out/.wh..wh..opq", "").end() => Contain(&[("lower/file", File("lower"))]);
    "whiteout of a link", "`.wh.link`, a link to `lower`", tar().file(".wh.link", "").end()
        => Contain(&[("link", Nothing), ("lower/file", File("lower"))]);
    "whiteout through a link", "`link/.wh.file`", tar().file("link/.wh.file", "").end() => Contain(&[("lower/file", Nothing)]);
    "whiteout first", "`.wh.lower`, then `lower/new`", tar().file(".wh.lower", "").file("lower/new", "x").end()
        => Contain(&[("lower/new", File("x")), ("lower/file", Nothing)]);
    "whiteout last", "`lower/new`, then `.wh.lower`", tar().file("lower/new", "x").file(".wh.lower", "").end()
        => Contain(&[("lower/new", File("x")), ("lower/file", Nothing), ("lower/dir", Nothing)]);
    "opaque last", "`lower/dir/b`, then `lower/.wh..wh..opq`",
        tar().file("lower/dir/b", "x").file("lower/.wh..wh..opq", "").end()
        => Contain(&[("lower/dir/b", File("x")), ("lower/dir/a", Nothing), ("lower/file", Nothing)]);
    "whiteout with content", "a whiteout of five bytes", tar().file(".wh.lower", "bytes").file("f", "x").end()
        => Contain(&[("lower", Nothing), ("f", File("x"))]);
    "notes of AUFS", "`.wh..wh.plnk/1` with a hard link to it, and `.wh..wh.aufs`",
        tar().directory(".wh..wh.plnk").file(".wh..wh.plnk/1", "x").hard_link("f", ".wh..wh.plnk/1").file(".wh..wh.aufs", "").end()
        => Contain(&[("f", File("x")), (".wh..wh.plnk", Nothing), (".wh..wh.aufs", Nothing)]);
    "notes of AUFS as a link", "`.wh..wh.plnk` as a link to `../outside`, then a file below",
        tar().symlink(".wh..wh.plnk", "../outside").file(".wh..wh.plnk/evil", "x").end() => Refuse("resolve");
};

pub(super) const FORMS: &[Animal] = animals! {
    "huge size", "8 GiB declared and nothing behind",
        tar().head(&Head { name: b"f", size: octal((8 << 30) - 1), ..Head::default() }).end() => Refuse("cut short");
    "larger than all", "1 EiB declared",
        tar().head(&Head { name: b"f", size: binary(1 << 60), ..Head::default() }).end() => Refuse("bytes of content");
    "negative size", "-1 in base 256", tar().head(&Head { name: b"f", size: binary(-1), ..Head::default() }).end()
        => Refuse("size is no number");
    "PAX size beyond", "`size=99999999999999999999`",
        tar().pax(b'x', &[("size", b"99999999999999999999")]).file("f", "x").end() => Refuse("no number");
    "PAX size", "the header says 1 byte, PAX says 700",
        tar().pax(b'x', &[("size", b"700")]).head(&Head { name: b"f", size: octal(1), ..Head::default() }).bytes(&[b'x'; 700]).file("g", "y").end()
        => Contain(&[("g", File("y"))]);
    "global PAX size", "a global header with `size=1`", tar().pax(b'g', &[("size", b"1")]).file("f", "x").end()
        => Refuse("global PAX header");
    "global comment", "what `git archive` writes", tar().pax(b'g', &[("comment", b"0123")]).file("f", "x").end()
        => Contain(&[("f", File("x"))]);
    "huge PAX header", "8 GiB of records declared",
        tar().head(&Head { kind: b'x', name: b"pax", size: octal((8 << 30) - 1), ..Head::default() }).end()
        => Refuse("bytes in the extension headers of one entry");
    "flood of attributes", "40 headers of 60 KB for one file", {
        let value = [b'x'; 60_000];
        (0..40).fold(tar(), |tar, index| tar.pax(b'x', &[(&format!("SCHILY.xattr.user.{index}"), &value)])).file("f", "x").end()
    } => Refuse("bytes in the extension headers of one entry");
    "large attribute", "one of 70 KB", tar().pax(b'x', &[("SCHILY.xattr.user.a", &[b'x'; 70_000])]).file("f", "x").end()
        => Refuse("65536 bytes in an extended attribute");
    "orders to overlayfs", "`user.overlay.opaque`, `user.overlay.redirect`, `trusted.overlay.opaque`",
        tar().pax(b'x', &[("SCHILY.xattr.user.overlay.opaque", b"y"), ("SCHILY.xattr.trusted.overlay.opaque", b"y"), ("SCHILY.xattr.user.overlay.redirect", b"/out")]).directory("d").end()
        => Contain(&[("d", Directory)]);
    "forged record", "`user.dockless.node` on an empty file",
        tar().pax(b'x', &[("SCHILY.xattr.user.dockless.node", b"b 8 0")]).file("f", "").end() => Contain(&[("f", File(""))]);
    "bad checksum", "one bit of a name is wrong", {
        let mut bytes = tar().file("f", "x").end();
        bytes[3] ^= 1;
        bytes
    } => Refuse("malformed at byte 0: the header's checksum");
    "bad number", "a mode of `rwxr-x`", tar().head(&Head { name: b"f", mode: b"rwxr-xr\0", ..Head::default() }).end()
        => Refuse("mode is no number");
    "no archive", "a text", b"This is no archive at all. ".repeat(100) => Refuse("malformed at byte 0");
    "directory with content", "a name with a slash at its end, and five bytes", tar().file("d/", "bytes").end()
        => Refuse("by its name it is a directory");
    "sparse", "two bytes and a hole of 1 MiB",
        tar().pax(b'x', &[("GNU.sparse.map", b"0,2,1048576,0"), ("GNU.sparse.size", b"1048576"), ("GNU.sparse.name", b"holes")]).file("f", "xy").end()
        => Contain(&[("holes", Node), ("f", Nothing)]);
    "sparse that overlaps", "the second region begins before the first",
        tar().pax(b'x', &[("GNU.sparse.map", b"100,1,0,1"), ("GNU.sparse.size", b"200")]).file("f", "xy").end() => Refuse("overlap");
    "sparse without end", "a hole of 8 EiB",
        tar().pax(b'x', &[("GNU.sparse.map", b"0,1"), ("GNU.sparse.size", b"9223372036854775807")]).file("f", "x").end()
        => Refuse("bytes of content");
    "sparse map that lies", "a million regions declared, none there",
        tar().pax(b'x', &[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"9")]).file("f", &format!("{:<512}", "1000000\n")).end()
        => Refuse("regions of a sparse file");
    "file twice", "the same name with other content", tar().file("f", "1").file("f", "2").end() => Contain(&[("f", File("2"))]);
    "file to directory", "a file, then a directory of its name with a file",
        tar().file("f", "1").directory("f").file("f/g", "2").end() => Contain(&[("f/g", File("2"))]);
    "directory to file", "a directory with a file, then a file of its name",
        tar().directory("d").file("d/g", "1").file("d", "2").end() => Contain(&[("d", File("2"))]);
    "below a file", "a file, then one below it", tar().file("f", "1").file("f/g", "2").end() => Refuse("resolve");
};

fn cut(length: usize) -> Vec<u8> {
    let mut bytes = tar().long_name("name").file("f", &"x".repeat(700)).end();
    bytes.truncate(length);
    bytes
}

pub(super) const ENDS: &[Animal] = animals! {
    "nothing", "an empty file", Vec::new() => Refuse("cut short after 0 bytes");
    "cut in a header", "300 bytes", cut(300) => Refuse("cut short after 300 bytes");
    "cut in a long name", "514 bytes", cut(514) => Refuse("cut short");
    "cut between headers", "1024 bytes", cut(1024) => Refuse("cut short");
    "cut in content", "1700 bytes", cut(1700) => Refuse("cut short");
    "cut in padding", "2300 bytes", cut(2300) => Refuse("cut short");
    "no end mark", "it ends after the last entry", cut(2560) => Refuse("cut short");
    "half an end mark", "one block of zeros", cut(3072) => Contain(&[("name", Node), ("f", Nothing)]);
    "entry after one block of zeros", "an entry where the second block of the end mark would be",
        tar().file("f", "x").bytes(&[0; 512]).file("g", "y").end() => Refuse("only one block of zeros");
    "garbage behind the end", "text behind the end mark", [tar().file("f", "x").end(), b"garbage".repeat(999)].concat()
        => Contain(&[("f", File("x"))]);
    "second archive", "another archive behind the end mark", [tar().file("f", "x").end(), tar().file("g", "y").end()].concat()
        => Contain(&[("f", File("x")), ("g", Nothing)]);
    "cut gzip", "its sum is missing", {
        let bytes = gzip(&tar().file("f", "x").end());
        bytes[..bytes.len() - 8].to_vec()
    } => Refuse("cut short");
    "wrong gzip sum", "one bit of the sum behind the end mark", {
        let mut bytes = gzip(&tar().file("f", "x").end());
        let sum = bytes.len() - 6;
        bytes[sum] ^= 1;
        bytes
    } => Refuse("failed to read the archive");
    "garbage behind gzip", "text behind the compressed archive", [gzip(&tar().file("f", "x").end()), b"garbage".repeat(99)].concat()
        => Refuse("failed to read the archive");
    "second gzip member", "one archive in two members",
        [gzip(&tar().file("f", "x").0), gzip(&tar().file("g", "y").end())].concat() => Contain(&[("f", File("x")), ("g", File("y"))]);
    "gzip bomb", "300 MiB of zeros", gzip(&bomb()) => Refuse("compression bomb");
    "zstd bomb", "300 MiB of zeros", zstd(&bomb()) => Refuse("compression bomb");
    "zstd window", "a frame that wants 2 GiB of memory", [&b"\x28\xb5\x2f\xfd\x00\xa8"[..], &[0; 64]].concat()
        => Refuse("failed to read the archive");
    "gzip in gzip", "compressed twice", gzip(&[gzip(&tar().file("f", "x").end()), b"garbage".repeat(99)].concat()) => Refuse("malformed at byte 0");
};

/// Each with the digest that it has: somebody vouches for it.
pub(super) const VOUCHED: &[Animal] = animals! {
    "no end mark, vouched for", "it ends after the last entry, and its digest is known", cut(2560) => Contain(&[("name", Node), ("f", Nothing)]);
    "no end mark, gzip, vouched for", "the same, compressed", gzip(&cut(2560)) => Contain(&[("name", Node), ("f", Nothing)]);
    "nothing, vouched for", "an empty file, and its digest is known", Vec::new() => Contain(&[("lower/file", File("lower"))]);
    "cut in a header, vouched for", "300 bytes, and their digest is known", cut(300) => Refuse("cut short after 300 bytes");
    "cut between headers, vouched for", "a long name without an entry, and its digest is known", cut(1024) => Refuse("cut short");
    "cut in content, vouched for", "1700 bytes, and their digest is known", cut(1700) => Refuse("cut short");
    "cut in padding, vouched for", "2300 bytes, and their digest is known", cut(2300) => Refuse("cut short");
    "cut gzip, vouched for", "no end mark and no sum", {
        let bytes = gzip(&cut(2560));
        bytes[..bytes.len() - 8].to_vec()
    } => Refuse("cut short");
};

fn bomb() -> Vec<u8> {
    let size = 300 << 20;
    let mut bytes = tar().head(&Head { name: b"zeros", size: octal(size), ..Head::default() }).0;
    bytes.resize(bytes.len() + usize::try_from(size).expect("64 bits") + 1024, 0);
    bytes
}

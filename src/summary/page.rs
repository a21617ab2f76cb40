//! The frame of a page: styles, tables, escaping.

use std::fmt::Write as _;

/// No scripts, no addresses: the page works from a disk, in a mail, behind a wall.
const STYLE: &str = "
:root{color-scheme:light dark;--line:#8884;--soft:#8882;--step:#0072b2}
@media(prefers-color-scheme:dark){:root{--step:#56b4e9}}
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;overflow-wrap:anywhere}
h1{font-size:1.7rem;margin:0}h2{font-size:1.25rem;margin:2rem 0 .5rem}h3{font-size:1rem;margin:1.2rem 0 .3rem}
.facts{opacity:.75;margin:.2rem 0}
.scroll{overflow-x:auto}table{border-collapse:collapse;overflow-wrap:normal}
th,td{border:1px solid var(--line);padding:.35rem .7rem;text-align:left;vertical-align:top}
th{background:var(--soft)}
.passed{border-left:4px solid #009e73}.failed{border-left:4px solid #d55e00}.skipped{border-left:4px solid #8c8c8c}
pre{background:var(--soft);padding:.6rem;overflow-x:auto;overflow-wrap:normal}
details{margin:.8rem 0}summary{font-weight:600;cursor:pointer;margin-bottom:.4rem}
.bar,.step{display:grid;grid-template-columns:8rem 1fr 6rem;gap:.6rem;align-items:center;margin:.25rem 0}
.bar svg{width:100%;height:22px}
.step{grid-template-columns:11rem 1fr 6rem;margin:0;font-size:.85rem}
.bar span:last-child,.step span:last-child{white-space:nowrap}
.track{background:var(--soft)}
.track i{display:block;height:.8rem;min-width:2px;max-width:100%;box-sizing:border-box;background:var(--step)}
.legend{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:.3rem 1rem}
.legend i{display:inline-block;width:.8em;height:.8em;margin-right:.4em}
@media(max-width:40rem){body{margin:1rem auto}.step{grid-template-columns:7rem 1fr 4.5rem}
.bar{grid-template-columns:6rem 1fr 4.5rem}th,td{padding:.25rem .4rem}}
";

/// A cell of a table.
pub(super) struct Cell {
    /// Its class; empty for none.
    pub(super) class: &'static str,
    /// What is in it, escaped.
    pub(super) html: String,
}

impl Cell {
    pub(super) fn text(text: &str) -> Self {
        Self { class: "", html: escaped(text) }
    }
}

/// Keeps a text from being HTML, also within quotation marks.
pub(super) fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            letter if letter.is_control() && letter != '\n' => html.push(' '),
            letter => html.push(letter),
        }
    }
    html
}

pub(super) fn table(head: &[Cell], rows: &[Vec<Cell>]) -> String {
    let mut text = "<div class=scroll><table>\n<tr>".to_owned();
    for cell in head {
        let _ = write!(text, "<th>{}</th>", cell.html);
    }
    text += "</tr>\n";
    for row in rows {
        text += "<tr>";
        for cell in row {
            let _ = write!(text, "<td class=\"{}\">{}</td>", cell.class, cell.html);
        }
        text += "</tr>\n";
    }
    text + "</table></div>\n"
}

/// Puts something below a line that opens it; `open` from the beginning.
pub(super) fn folded(line: &str, open: bool, html: &str) -> String {
    let open = if open { " open" } else { "" };
    format!("<details{open}><summary>{}</summary>\n{html}</details>\n", escaped(line))
}

pub(super) fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n<meta http-equiv=Content-Security-Policy \
         content=\"default-src 'none'; style-src 'unsafe-inline'\">\n<meta name=viewport \
         content=\"width=device-width\">\n<title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        escaped(title)
    )
}

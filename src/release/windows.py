"""What tkinter must be able to do where there is a display; called and answering as `checks.py`, whose last scenario it is."""

import collections
import os
import shutil
import struct
import subprocess
import sys

from checks import check, need, run, skip


def pixels(file, colours):
    """Counts pixels of the screen of an Xvfb, by 0xRRGGBB; `file` is what it keeps with -fbdir (XWDFile.h, 24 bits deep)."""
    with open(file, "rb") as screen:
        image = screen.read()
    header = struct.unpack(">25I", image[:100])
    start, depth, width, height = header[0] + 12 * header[19], header[3], header[4], header[5]
    order, bits, line = header[7], header[11], header[12]
    need((depth, bits) == (24, 32), f"depth {depth}, {bits} bits a pixel")
    counts = collections.Counter()
    for row in range(height):
        words = struct.unpack_from(f"{'>' if order else '<'}{width}I", image, start + row * line)
        counts.update(word & 0xFFFFFF for word in words)
    return [counts[colour] for colour in colours]


WINDOW = """
import sys, tkinter, tkinter.font, tkinter.messagebox, tkinter.ttk
root = tkinter.Tk()
root.geometry("400x300+20+20")
root.configure(background="#c01020")
pressed = []
button = tkinter.ttk.Button(root, text="Gr\u00fc\u00dfe", command=lambda: pressed.append(1))
button.pack(padx=100, pady=20)
entry = tkinter.Entry(root)
entry.pack()
image = tkinter.PhotoImage(width=100, height=100)
image.put("#10a0c0", to=(0, 0, 100, 100))
tkinter.Label(root, image=image, borderwidth=0).pack()
root.update()
button.event_generate("<Enter>")
button.event_generate("<ButtonPress-1>", x=5, y=5)
button.event_generate("<ButtonRelease-1>", x=5, y=5)
entry.focus_force()
root.update()
for key in "abc":
    entry.event_generate(f"<KeyPress-{key}>")
root.clipboard_clear()
root.clipboard_append("\u65e5\u672c")
root.update()
assert pressed == [1], pressed
assert entry.get() == "abc", entry.get()
assert root.clipboard_get() == "\u65e5\u672c"
assert button.winfo_viewable() and root.winfo_width() == 400
assert tkinter.font.Font(root=root, font="TkDefaultFont").measure("mmm") > 9
sys.path.insert(0, "/")
import windows
red, blue = windows.pixels("/tmp/screen/Xvfb_screen0", [0xC01020, 0x10A0C0])
assert red > 80000, f"{red} red pixels on the screen"
assert blue == 10000, f"{blue} blue pixels on the screen"
print("Tk", root.tk.call("info", "patchlevel"), root.winfo_server())
"""

TURTLE = """
import sys, turtle
turtle.setup(300, 300)
turtle.speed(0)
turtle.hideturtle()
turtle.color("#20c010")
turtle.begin_fill()
turtle.circle(50)
turtle.end_fill()
turtle.update()
turtle.getcanvas().update()
sys.path.insert(0, "/")
import windows
green, = windows.pixels("/tmp/screen/Xvfb_screen0", [0x20C010])
assert 7000 < green < 9000, f"{green} green pixels"
"""

IDLE = """
import subprocess, sys, time, tkinter
idle = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
root = tkinter.Tk(className="looks")
end = time.monotonic() + 60
while "idle" not in [name.lower() for name in root.winfo_interps()]:
    assert idle.poll() is None, idle.stdout.read().decode()
    assert time.monotonic() < end, f"no window of idle, only of {root.winfo_interps()}"
    time.sleep(0.2)
idle.terminate()
"""


def display():
    """Windows on a real X server: the machine's Xvfb, inside this sandbox, with its screen in a file."""
    machine = "/usr/bin:/bin"
    if not shutil.which("Xvfb", path=machine):
        return skip("window", "the machine has no Xvfb (package xvfb)")
    os.makedirs("/tmp/screen")
    read, write = os.pipe()
    with open("/tmp/Xvfb.log", "wb") as log:
        server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(write), "-screen", "0", "640x480x24", "-fbdir", "/tmp/screen", "-nolisten", "tcp", "-noreset"],
            pass_fds=[write], stdout=log, stderr=log, env={"PATH": machine})
    os.close(write)
    number = os.read(read, 16).decode().strip()
    if not number:
        with open("/tmp/Xvfb.log") as log:
            return skip("window", "the machine's Xvfb does not start: " + log.read().strip()[-200:].replace("\n", " / "))
    env = dict(os.environ, DISPLAY=":" + number)
    try:
        check("window", lambda: run(sys.executable, "-c", WINDOW, env=env))
        check("turtle", lambda: run(sys.executable, "-c", TURTLE, env=env))
        check("idle", lambda: run(sys.executable, "-c", IDLE, sys.prefix + "/bin/idle3", env=dict(env, PATH=machine)))
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    display()

/* How an interpreter of _tkinter begins; in place of CPython's Modules/tkappinit.c.
 *
 * Tcl and Tk read scripts from lib/tcl8.6 and lib/tk8.6 of the tree. The paths compiled in are wrong once the tree is moved, and what
 * Tcl looks for beside the program is not there in a virtual environment. So Tcl is given a script that it evaluates first in every
 * interpreter, also in those that scripts make. A user's TCL_LIBRARY and TK_LIBRARY go before it, as ever. The environment is not
 * changed: a child may have a Tcl of its own.
 */
#include "Python.h"
#include <stdlib.h>
#include <string.h>
#include <tcl.h>
#include <tk.h>
#include "tkinter.h"

/* tclInt.decls 101; tclInt.h has more in it than Python.h can stand. */
extern const char *TclSetPreInitScript(const char *script);

TCL_DECLARE_MUTEX(told_lock)
static int told = 0;
static Tcl_DString first_script;

static void
tell(const char *lib)
{
    Tcl_DString tcl, tk;
    Tcl_DStringInit(&tcl);
    Tcl_DStringAppend(&tcl, lib, -1);
    Tcl_DStringAppend(&tcl, "/tcl" TCL_VERSION, -1);
    Tcl_DStringInit(&tk);
    Tcl_DStringAppend(&tk, lib, -1);
    Tcl_DStringAppend(&tk, "/tk" TK_VERSION, -1);

    /* set tclDefaultLibrary TCL
     * if {![info exists env(TK_LIBRARY)]} {set tk_library TK}   with paths quoted as words, whatever is in them */
    Tcl_DString set;
    Tcl_DStringInit(&set);
    Tcl_DStringAppend(&set, "set ::tk_library", -1);
    Tcl_DStringAppendElement(&set, Tcl_DStringValue(&tk));
    Tcl_DStringInit(&first_script);
    Tcl_DStringAppend(&first_script, "set ::tclDefaultLibrary", -1);
    Tcl_DStringAppendElement(&first_script, Tcl_DStringValue(&tcl));
    Tcl_DStringAppend(&first_script, "\nif {![info exists ::env(TK_LIBRARY)]}", -1);
    Tcl_DStringAppendElement(&first_script, Tcl_DStringValue(&set));
    TclSetPreInitScript(Tcl_DStringValue(&first_script));

    /* Encodings are looked for from the beginning, before any interpreter is. */
    Tcl_DStringAppend(&tcl, "/encoding", -1);
    Tcl_Obj *place = Tcl_NewStringObj(Tcl_DStringValue(&tcl), Tcl_DStringLength(&tcl));
    Tcl_Obj *path = Tcl_DuplicateObj(Tcl_GetEncodingSearchPath());
    int length = 0;
    Tcl_IncrRefCount(path);
    if (Tcl_ListObjLength(NULL, path, &length) == TCL_OK
            && Tcl_ListObjReplace(NULL, path, getenv("TCL_LIBRARY") ? length : 0, 0, 1, &place) == TCL_OK) {
        Tcl_SetEncodingSearchPath(path);
    }
    Tcl_DecrRefCount(path);

    Tcl_DStringFree(&set);
    Tcl_DStringFree(&tk);
    Tcl_DStringFree(&tcl);
}

/* Without an answer Tcl looks where it always does. */
static void
tell_where_the_tree_is(void)
{
    PyObject *prefix = PySys_GetObject("base_prefix");
    PyObject *bytes = prefix && PyUnicode_Check(prefix) ? PyUnicode_EncodeFSDefault(prefix) : NULL;
    if (bytes == NULL) {
        PyErr_Clear();
        return;
    }
    Tcl_DString lib;
    Tcl_ExternalToUtfDString(NULL, PyBytes_AS_STRING(bytes), -1, &lib);
    Tcl_DStringAppend(&lib, "/lib", -1);
    tell(Tcl_DStringValue(&lib));
    Tcl_DStringFree(&lib);
    Py_DECREF(bytes);
}

int
Tcl_AppInit(Tcl_Interp *interp)
{
    Tcl_MutexLock(&told_lock);
    if (!told) {
        told = 1;
        tell_where_the_tree_is();
        Tcl_StaticPackage(NULL, "Tk", Tk_Init, Tk_SafeInit);
    }
    Tcl_MutexUnlock(&told_lock);

    if (Tcl_Init(interp) == TCL_ERROR) {
        return TCL_ERROR;
    }
    const char *skip = Tcl_GetVar(interp, "_tkinter_skip_tk_init", TCL_GLOBAL_ONLY);
    if (skip != NULL && strcmp(skip, "1") == 0) {
        return TCL_OK;
    }
    if (Tk_Init(interp) == TCL_ERROR) {
        return TCL_ERROR;
    }
    Tk_MainWindow(interp);
    return TCL_OK;
}

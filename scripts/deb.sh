# For sources that are Debian's binary packages, where its mirror has no archive of the source: `. /scripts/deb.sh`, after step.sh.
#
#   is_deb NAME        whether the one file of source NAME is a .deb
#   unpack_deb NAME    unpacks it into ./NAME and goes there: ./usr/..., as deb(5) has it in data.tar

is_deb() {
    case $(echo /sources/"$1"/*) in *.deb) ;; *) return 1 ;; esac
}

unpack_deb() {
    mkdir "/build/$1"
    cd "/build/$1"
    ar p /sources/"$1"/*.deb data.tar.xz | tar -x -J --no-same-owner
}

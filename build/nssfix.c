/*
 * Names are looked up by what the C library has inside. Else it would load what /etc/nsswitch.conf of the host names, from
 * wherever it finds it, for another C library. The program needs this library, so it runs before any of its code.
 */
extern int __nss_configure_lookup(const char *database, const char *services); // NOLINT: glibc, nss.h

__attribute__((constructor)) static void configure(void)
{
    static const char *const databases[] = {"aliases", "ethers", "group", "gshadow", "initgroups", "netgroup", "networks",
        "passwd", "protocols", "publickey", "rpc", "services", "shadow"};
    for (unsigned i = 0; i < sizeof databases / sizeof *databases; i++)
        __nss_configure_lookup(databases[i], "files");
    __nss_configure_lookup("hosts", "files dns");
}

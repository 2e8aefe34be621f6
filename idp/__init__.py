"""The realm as code, and the pinned Keycloak for development and tests.

    install ─▶ seed ─▶ server            a built distribution in a cache, a ready-made database, one run's process
    model ─▶ desired ─▶ linter           config/realm/realm.toml + registered windows → what the realm must be
         ─▶ plan ─▶ apply ─▶ admin       compared with what Keycloak answers; written; a second apply writes nothing

Only `admin` speaks to Keycloak. Names of objects that this package manages are fixed in `desired`; anything else that
is found in the realm is reported and left alone.
"""

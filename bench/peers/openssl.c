/* OpenSSL's X509_verify_cert on one chain: `openssl FOLDER KIND`. For each line on standard input it verifies every
   leaf once, parsed afresh, and answers "LEAVES CPU-SECONDS". The other certificates are kept parsed. No CRLs.
   `openssl FOLDER KIND found` counts those for which it finds a path, instead of failing: "FOUND CPU-SECONDS". */
#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define AT 1793491200 /* 2026-11-01T00:00:00Z */
#define MOST 100000
static const char *folder;
static int sm2; /* OpenSSL 3 takes an empty distinguishing ID unless each certificate is told otherwise */

static void fail(const char *what) { fprintf(stderr, "%s\n", what); exit(1); }

static double cpu(void) {
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return used.tv_sec + used.tv_nsec / 1e9;
}

static void name_sm2_id(X509 *certificate) {
    if (!sm2) return;
    ASN1_OCTET_STRING *id = ASN1_OCTET_STRING_new();
    ASN1_OCTET_STRING_set(id, (const unsigned char *)"1234567812345678", 16);
    X509_set0_distinguishing_id(certificate, id);
}

static STACK_OF(X509) *read_all(const char *name) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    BIO *file = BIO_new_file(path, "r");
    STACK_OF(X509) *found = sk_X509_new_null();
    X509 *certificate;
    if (!file) fail(path);
    while ((certificate = PEM_read_bio_X509(file, NULL, NULL, NULL))) {
        name_sm2_id(certificate);
        sk_X509_push(found, certificate);
    }
    BIO_free(file);
    return found;
}

static int verify(X509_STORE *store, STACK_OF(X509) *pool, X509 *leaf, int count) {
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    if (!context || X509_STORE_CTX_init(context, store, leaf, pool) != 1) fail("context");
    X509_VERIFY_PARAM *parameters = X509_STORE_CTX_get0_param(context);
    X509_VERIFY_PARAM_set_time(parameters, AT);
    X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_POLICY_CHECK);
    int good = X509_verify_cert(context) == 1;
    if (!good && !count)
        fail(X509_verify_cert_error_string(X509_STORE_CTX_get_error(context)));
    X509_STORE_CTX_free(context);
    return good;
}

int main(int count, char **arguments) {
    if (count == 2) return puts(OpenSSL_version(OPENSSL_VERSION)) < 0; /* any one word */
    int counting = count == 4 && !strcmp(arguments[3], "found");
    if (count != 3 && !counting) fail("usage: openssl FOLDER ecdsa-p256|rsa-2048|sm2 [found]");
    folder = arguments[1];
    sm2 = !strcmp(arguments[2], "sm2");
    X509_STORE *store = X509_STORE_new();
    X509_STORE_add_cert(store, sk_X509_value(read_all("anchor.pem"), 0));
    STACK_OF(X509) *pool = read_all("pool.pem"), *leaves = read_all("leaves.pem");
    static unsigned char *der[MOST];
    static int length[MOST];
    int total = sk_X509_num(leaves);
    if (total > MOST) fail("too many leaves");
    for (int i = 0; i < total; i++) length[i] = i2d_X509(sk_X509_value(leaves, i), &der[i]);
    for (char line[16]; fgets(line, sizeof line, stdin);) {
        double started = cpu();
        int found = 0;
        for (int i = 0; i < total; i++) {
            const unsigned char *start = der[i];
            X509 *leaf = d2i_X509(NULL, &start, length[i]);
            if (!leaf) fail("leaf");
            name_sm2_id(leaf);
            found += verify(store, pool, leaf, counting);
            X509_free(leaf);
        }
        printf("%d %f\n", found, cpu() - started);
        fflush(stdout);
    }
    return 0;
}

#include "base/digest_code.h"

#ifdef FILESHARE_DIGEST_WIDE
#if XXH_VECTOR != XXH_AVX2
#error "this file is to be compiled for AVX2"
#endif

const struct digest_kind digest_avx2 = DIGEST_KIND;
#endif

#include "base/digest_code.h"

#ifdef FILESHARE_DIGEST_WIDE
#if XXH_VECTOR != XXH_AVX512
#error "this file is to be compiled for AVX512"
#endif

const struct digest_kind digest_avx512 = DIGEST_KIND;
#endif

# A program or library that says FILESHARE_ARCHIVES has its libraries inside, and need not load
# them: of the time that a client process takes, more than half went there (libtirpc
# alone brings the seven libraries of Kerberos, of which nothing is used).
#
# Libraries that come without an archive stay shared; the C library's always do, for
# it loads by itself what finds hosts and languages.

function(fileshare_archive package)
    get_target_property(libraries PkgConfig::${package} INTERFACE_LINK_LIBRARIES)
    set(chosen)
    foreach(library ${libraries})
        string(REGEX REPLACE "\\.so$" ".a" archive "${library}")
        if(NOT archive STREQUAL library AND EXISTS "${archive}")
            set(inside "$<BOOL:$<TARGET_PROPERTY:FILESHARE_ARCHIVES>>")
            list(APPEND chosen "$<IF:${inside},${archive},${library}>")
        else()
            list(APPEND chosen "${library}")
        endif()
    endforeach()
    set_target_properties(PkgConfig::${package} PROPERTIES INTERFACE_LINK_LIBRARIES "${chosen}")
endfunction()

foreach(package TIRPC POPT JANSSON)
    fileshare_archive(${package})
endforeach()

# Whether libtirpc's archive may be within a shared library: where it was compiled for
# programs alone the linker refuses.
include(CheckCSourceCompiles)
function(fileshare_archive_is_shareable result)
    get_target_property(libraries PkgConfig::TIRPC INTERFACE_LINK_LIBRARIES)
    get_target_property(CMAKE_REQUIRED_INCLUDES PkgConfig::TIRPC INTERFACE_INCLUDE_DIRECTORIES)
    string(REGEX MATCH "[^:,]+\\.a" CMAKE_REQUIRED_LIBRARIES "${libraries}")
    set(CMAKE_REQUIRED_FLAGS -fPIC)
    set(CMAKE_REQUIRED_LINK_OPTIONS -shared -Wl,--exclude-libs,ALL -Wl,-z,text)
    if(CMAKE_REQUIRED_LIBRARIES)
        check_c_source_compiles("
            #include <rpc/rpc.h>
            static void *use[] = {(void *)authnone_create, (void *)authunix_create, (void *)xdrmem_create,
                                  (void *)xdr_replymsg, (void *)xdr_quad_t};
            void *one(unsigned at);
            void *one(unsigned at) { return use[at]; }
            int main(void) { return 0; }" ${result})
    endif()
    set(${result} "${${result}}" PARENT_SCOPE)
endfunction()

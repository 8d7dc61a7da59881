# A program that says FILESHARE_ARCHIVES has its libraries inside, and need not load
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

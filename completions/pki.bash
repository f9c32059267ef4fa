# bash completion for pki                                  -*- shell-script -*-
#
# Calls nothing of the bash-completion package, and so works without it too.

_pki() {
    local word=${COMP_WORDS[COMP_CWORD]} cur=$2 option=$3 prefix='' equals='' words=''

    # --option=value comes in three words, and word and cur may differ: cur is what readline
    # replaces. Where '=' was taken out of COMP_WORDBREAKS it comes in one.
    if [[ $word == = ]]; then
        equals=1 cur=''
    elif [[ $option == = ]]; then
        equals=1 option=${COMP_WORDS[COMP_CWORD - 2]}
    elif [[ $cur == -*=* ]]; then
        equals=1 option=${cur%%=*} prefix=${cur%%=*}= cur=${cur#*=}
    elif [[ $word == *[\<\>] || $option == *[\<\>] ]]; then
        compopt -o default
        return
    elif [[ -z $cur && -n $word ]]; then
        return # behind a colon of an IPv6 address
    fi
    [[ $option != -[!-]* ]] || option=-$option # one dash is as good as two

    # Paths are left to readline, which knows about quotes and tildes.
    case $option in
        --domains | --ip-addresses | --days)
            return
            ;;
        --ca-cert | --ca-key)
            compopt -o default
            return
            ;;
        --out)
            compopt -o dirnames
            return
            ;;
        --ca-alg)
            words='ecdsa rsa p256 p384 rsa2048 rsa3072 rsa4096'
            ;;
        --key-type)
            words='p256 p384 rsa2048 rsa3072 rsa4096 ed25519'
            ;;
        *)
            # No value: the command, which is the first word or left out, or an option.
            [[ -z $equals ]] || return
            local commands='issue' command=issue
            if ((COMP_CWORD == 1)); then
                words=$commands
            elif [[ ${COMP_WORDS[1]} != -* ]]; then
                command=${COMP_WORDS[1]}
            fi
            words+=' --help --version'
            case $command in
                issue)
                    words+=' --domains --ip-addresses --ca-cert --ca-key --ca-alg --key-type'
                    words+=' --days --out --json --quiet --verbose'
                    ;;
            esac
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -P "$prefix" -W "$words" -- "$cur")
}

complete -F _pki pki
